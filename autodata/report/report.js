// Runs in every report: switches the theme, opens the folded element that a link names, shows one of several charts.
"use strict";

(() => {
  const theme = document.getElementById("theme"); // a card has none
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const showState = () => {
    theme.textContent = isDark() ? "Light theme" : "Dark theme"; // what a click leads to
    theme.hidden = false;
  };
  if (theme) {
    theme.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      showState();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showState);
    showState();
  }

  // An address that names a folded element opens it.
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
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = choice.dataset.choice;
      button.addEventListener("click", () => choose(choice));
      bar.append(button);
      return button;
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
