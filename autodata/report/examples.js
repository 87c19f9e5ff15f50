// Shows the list of examples; each is unpacked when it is opened. The address #example=ID shows one of them.
"use strict";

(() => {
  const PAGE = 50;
  const { byId, number, count, make, prose, titled, fold, json, matrix, unpack, readRecord, listen } = parts;
  let entries = [];
  let matches = [];
  let page = 0;

  function filter() {
    const text = byId("search").value.trim().toLowerCase();
    const [arm, split] = ["arm", "split"].map((id) => byId(id).value);
    matches = entries.filter((entry) => (!text || entry.text.includes(text)) && (!arm || entry.arm === arm) && (!split || entry.split === split));
    page = 0;
    showList();
  }

  function showList() {
    const pages = Math.max(Math.ceil(matches.length / PAGE), 1);
    byId("list").replaceChildren(...matches.slice(page * PAGE, (page + 1) * PAGE).map(line));
    byId("found").textContent = `${number(matches.length)} of ${number(entries.length)} examples`;
    byId("page").textContent = `page ${page + 1} of ${pages}`;
    byId("earlier").disabled = page === 0;
    byId("later").disabled = page + 1 >= pages;
  }

  function line(entry) {
    const element = make("details", { class: "example" },
      make("summary", {}, make("span", { dir: "auto" }, entry.excerpt), " ",
        make("small", {}, `${entry.arm}, ${entry.split} · weak ${number(entry.weak)}, strong ${number(entry.strong)}`)));
    element.addEventListener("toggle", async () => {
      if (element.open && element.children.length === 1) element.append(...tell(await readRecord(entry)));
    });
    return element;
  }

  function tell({ id, document_source: source, candidate, evidence, provenance, round, rounds, weak_scores: weak, strong_scores: strong }) {
    const side = (met, scores) => scores.map((score, at) => ({ name: at + 1, met: met[at], score }));
    return [
      make("h3", {}, make("a", { href: `#${new URLSearchParams({ example: id })}` }, id)),
      make("p", { class: "note" }, `${source} · licence ${provenance.licence || "unknown"} · round ${round} of ${rounds} · run ${provenance.run}`),
      titled("Question", prose(candidate.question)),
      candidate.context ? titled("Context", prose(candidate.context)) : "",
      candidate.reference_answer ? titled("Reference answer", prose(candidate.reference_answer)) : "",
      matrix(`Rubric of ${id}`, candidate.rubric, { weak: side(evidence.weak_met, weak), strong: side(evidence.strong_met, strong) }),
      fold("Verdicts and thresholds", json({ presets: evidence.presets, gates: evidence.gates, review: evidence.review })),
      fold("Provenance, with the tokens of the whole trajectory", json(provenance)),
    ];
  }

  // An address that names an example shows it alone, opened.
  function follow() {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("example");
    if (wanted === null) return;
    byId("search").value = wanted;
    filter();
    const first = byId("list").querySelector("details");
    if (!first) return;
    first.open = true;
    byId("examples").scrollIntoView();
  }

  listen(filter, follow, (step) => {
    page += step;
    showList();
  });
  unpack(byId("index").textContent).then((read) => {
    entries = read;
    for (const entry of entries) entry.text = `${entry.id}\n${entry.document}\n${entry.excerpt}`.toLowerCase();
    filter();
    byId("list").dataset.ready = "true";
    follow();
  });
})();
