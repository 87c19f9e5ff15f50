// What every report can do beside being read: change its theme, open what is linked to, show one of several charts.
"use strict";

(() => {
  const button = document.getElementById("theme");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const showState = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    showState();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showState);
  showState();

  // An address that names something folded opens it.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();

  // <div data-choose="label"> with children <div data-choice="name">: without this script, all are shown.
  for (const group of document.querySelectorAll("[data-choose]")) {
    const choices = [...group.querySelectorAll(":scope > [data-choice]")];
    const bar = document.createElement("div");
    bar.className = "choices";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", group.dataset.choose);
    const buttons = choices.map((choice) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = choice.dataset.choice;
      made.addEventListener("click", () => choose(choice));
      bar.append(made);
      return made;
    });
    const choose = (chosen) =>
      choices.forEach((choice, at) => {
        choice.hidden = choice !== chosen;
        buttons[at].setAttribute("aria-pressed", String(choice === chosen));
      });
    if (choices.length > 1) {
      group.prepend(bar);
      choose(choices[0]);
    }
  }
})();
