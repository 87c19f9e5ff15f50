// Shows the list of documents and their storyboards. Text of documents and models reaches the page as text only.
"use strict";

(() => {
  const PAGE = 12;
  const { byId, words, number, count, make, prose, titled, fold, json, matrix, unpack, readRecord, listen } = parts;
  const badge = (verdict) => make("span", { class: `badge is-${verdict}` }, words(verdict));
  const styleOf = (verdict) => (verdict.accepted ? "accepted" : verdict.failure || "unmeasured");
  let entries = [];
  let matches = [];
  let page = 0;
  let opened = null; // the entry whose storyboard is shown

  // ── the list ──────────────────────────────────────────────────────────────────────────────

  function filter() {
    const text = byId("search").value.trim().toLowerCase();
    const [failure, end, kind] = ["failure", "end", "kind"].map((id) => byId(id).value);
    matches = entries.filter(
      (entry) =>
        (!text || entry.text.includes(text)) &&
        (!failure || entry.verdicts.includes(failure)) &&
        (!end || entry.end === end) &&
        (!kind || entry.kind === kind),
    );
    page = 0;
    showList();
  }

  function showList() {
    const pages = Math.max(Math.ceil(matches.length / PAGE), 1);
    const shown = matches.slice(page * PAGE, (page + 1) * PAGE);
    byId("documents").tBodies[0].replaceChildren(...shown.map(row));
    byId("found").textContent = `${number(matches.length)} of ${number(entries.length)} documents`;
    byId("page").textContent = `page ${page + 1} of ${pages}`;
    byId("earlier").disabled = page === 0;
    byId("later").disabled = page + 1 >= pages;
  }

  const row = (entry) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("a", { href: link(entry) }, entry.id || "(no id)"),
        entry.source === entry.id ? "" : make("small", { dir: "auto" }, entry.source)),
      make("td", {}, words(entry.end)),
      make("td", {}, strip(entry)),
      make("td", { dir: "auto" }, entry.excerpt),
    );

  const strip = (entry) =>
    make(
      "span",
      { class: "strip", role: "img", "aria-label": entry.verdicts.map(words).join(", ") || "no rounds" },
      ...entry.verdicts.map((verdict) => make("i", { class: `is-${verdict}`, title: words(verdict) })),
    );

  const link = (entry, round) =>
    `#${new URLSearchParams(round ? { doc: entry.id, round } : { doc: entry.id })}`;

  // ── one document ──────────────────────────────────────────────────────────────────────────

  async function follow() {
    const address = new URLSearchParams(location.hash.slice(1));
    const entry = address.has("doc") ? entries.find(({ id }) => id === address.get("doc")) : null;
    byId("browse").hidden = Boolean(entry);
    byId("story").hidden = !entry;
    if (!entry) {
      opened = null;
      return;
    }
    if (entry !== opened) {
      opened = entry;
      const record = await readRecord(entry);
      if (opened !== entry) return; // another one was opened meanwhile
      byId("story").replaceChildren(...tell(entry, record));
    }
    const target = byId(`round-${address.get("round")}`) || byId("story-title");
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  }

  function move(step) {
    const list = matches.includes(opened) ? matches : entries;
    const next = list[list.indexOf(opened) + step];
    if (next) location.hash = link(next);
  }

  function close() {
    const id = opened && opened.id;
    location.hash = "#storyboards";
    const back = [...document.querySelectorAll("#documents a")].find((a) => a.textContent === id);
    if (back) setTimeout(() => back.focus());
  }

  function tell(entry, { trajectory, changes }) {
    const list = matches.includes(entry) ? matches : entries;
    const at = list.indexOf(entry);
    const step = (label, by) =>
      make("button", { type: "button", disabled: !list[at + by], onclick: () => move(by) }, label);
    const tokens = Object.entries(trajectory.tokens).map(([role, count]) => `${words(role)} ${number(count)}`);
    return [
      make("p", { class: "pager" },
        make("button", { type: "button", onclick: close }, "All documents"), " ",
        step("← Previous", -1), " ", step("Next →", 1), " ",
        make("small", {}, `${number(at + 1)} of ${number(list.length)} · keys ← → and Esc`)),
      make("h3", { id: "story-title", tabIndex: -1, dir: "auto" }, entry.id || "(no id)"),
      make("p", { class: "note" },
        [entry.source, trajectory.document_licence, `ended: ${words(trajectory.end)}`, trajectory.note,
          `orchestrator ${trajectory.orchestrator}`].filter(Boolean).join(" · "),
        make("br"), tokens.length ? `tokens: ${tokens.join(", ")}` : ""),
      make("nav", { class: "choices", "aria-label": "Rounds" },
        ...trajectory.rounds.map((round) =>
          make("a", { class: `chip is-${styleOf(round.verdict)}`, href: link(entry, round.number) },
            `${round.number} ${words(styleOf(round.verdict))}`))),
      trajectory.refused.length ? fold(`Refused moves of the orchestrator (${trajectory.refused.length})`, make("ul", {}, ...trajectory.refused.map((text) => make("li", { dir: "auto" }, text)))) : "",
      Object.keys(trajectory.preparation).length ? fold("Extracted before round 1", json(trajectory.preparation)) : "",
      trajectory.members.length ? fold("Made by joining these documents", prose(trajectory.members.join("\n"))) : "",
      ...trajectory.rounds.map((round, index) => tellRound(round, changes[index])),
    ];
  }

  function tellRound(round, change) {
    const verdict = styleOf(round.verdict);
    const candidate = round.candidate;
    const others = Object.entries(round.presets).map(([name, preset]) => `${name}: ${words(styleOf(preset))}`);
    return make("article", { class: `round is-${verdict}`, id: `round-${round.number}`, tabIndex: -1, "aria-label": `Round ${round.number}` },
      make("h3", {}, `Round ${round.number} `, badge(verdict)),
      make("p", { dir: "auto" }, round.verdict.reason || (verdict === "accepted" ? "" : "no reason recorded"),
        others.length ? make("small", {}, ` Verdict under each preset: ${others.join(", ")}.`) : ""),
      round.diagnosis ? titled("Orchestrator's diagnosis", prose(round.diagnosis)) : "",
      round.instruction ? titled("Instruction to the challenger", prose(round.instruction)) : "",
      candidate ? "" : make("p", { class: "note" }, "There is no candidate: the challenger's reply could not be read as one."),
      ...(candidate ? tellCandidate(candidate, change) : []),
      ...tellQuality("Quality check", round.quality),
      candidate && round.weak.length + round.strong.length ? matrix(`Rubric of round ${round.number}`, candidate.rubric, { weak: round.weak.map(judged), strong: round.strong.map(judged) }) : "",
      ...["weak", "strong"].flatMap((side) => round[side].map((attempt) => tellAttempt(side, attempt))),
      ...tellQuality("Final check", round.final),
      round.duplicate_answers ? make("p", { class: "note" }, `Answers that are identical to another answer to this question: ${round.duplicate_answers}.`) : "",
      Object.keys(round.review).length ? fold("Review", json(round.review)) : "");
  }

  function tellCandidate(candidate, change) {
    return [
      titled("Question", prose(candidate.question)),
      change ? fold("What changed in the question", compare(change)) : "",
      candidate.context ? titled("Context", prose(candidate.context)) : "",
      candidate.reference_answer ? titled("Reference answer", prose(candidate.reference_answer)) : "",
      Object.keys(candidate.labels).length ? fold("Labels", json(candidate.labels)) : "",
    ];
  }

  const compare = (change) =>
    make("div", { class: "prose", dir: "auto" },
      ...change.map(([sign, text]) => make({ "=": "span", "-": "del", "+": "ins" }[sign], {}, `${text} `)));

  function tellQuality(title, quality) {
    if (!quality) return [];
    return [
      titled(`${title}: ${quality.passed ? "passed" : "not passed"}`, quality.reason ? prose(quality.reason) : ""),
      Object.keys(quality.details).length ? fold(`${title} in detail`, json(quality.details)) : "",
    ];
  }

  const judged = ({ index, judgement }) => ({ name: index + 1, met: judgement.met, score: judgement.score });

  // "ok" and "truncated" are the names of older records. Some domains want answers that run into their budget.
  const usual = ["answered", "ok", ...(byId("story").dataset.cutOff === "meant" ? ["cut_off", "truncated"] : [])];

  function tellAttempt(side, attempt) {
    const ended = usual.includes(attempt.outcome) ? "" : ` · ${words(attempt.outcome)}`;
    const peek = attempt.answer.length > 90 ? `${attempt.answer.slice(0, 90)}…` : attempt.answer;
    const title = `${side} ${attempt.index + 1} · score ${number(attempt.judgement.score)}${ended} `;
    return make("details", {},
      make("summary", {}, title, make("span", { class: "peek", dir: "auto" }, peek)),
      make("small", {}, `seed ${attempt.seed} · ${count(attempt.prompt_tokens, "prompt token")}, ${count(attempt.completion_tokens, "completion token")}`),
      attempt.reasoning ? fold("Reasoning", prose(attempt.reasoning)) : "",
      titled("Answer", prose(attempt.answer || "(empty)")),
      attempt.judgement.reason ? titled("Judge", prose(attempt.judgement.reason)) : "");
  }

  // ── keys and start ────────────────────────────────────────────────────────────────────────

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea, .scroll, pre");
    if (!opened || isTyping || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "Escape") close();
  });
  listen(filter, follow, (step) => {
    page += step;
    showList();
  });

  unpack(byId("index").textContent).then((read) => {
    entries = read;
    for (const entry of entries) entry.text = `${entry.id}\n${entry.source}\n${entry.excerpt}`.toLowerCase();
    byId("kind").append(...[...new Set(entries.map(({ kind }) => kind))].map((kind) => make("option", { value: kind }, kind)));
    filter();
    byId("documents").dataset.ready = "true";
    follow();
  });
})();
