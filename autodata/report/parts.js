// Shared by the scripts of all reports: makes elements whose content is text only, and unpacks the records in the page.
"use strict";

const parts = (() => {
  const byId = (id) => document.getElementById(id);
  const words = (name) => (name === "unmeasured" ? "not measured" : String(name).replaceAll("_", " "));
  const number = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: 3 }));
  const count = (total, noun) => `${number(total)} ${noun}${total === 1 ? "" : "s"}`;
  let lastBlock = { id: -1, records: [] };

  // ── elements ──────────────────────────────────────────────────────────────────────────────

  const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "class") element.className = value;
      else if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const prose = (text) => make("div", { class: "prose", dir: "auto" }, text);
  const titled = (title, ...content) => make("div", {}, make("h4", {}, title), ...content);
  const fold = (title, ...content) => make("details", {}, make("summary", {}, title), ...content);
  const json = (value) => make("pre", { tabIndex: 0, dir: "auto" }, JSON.stringify(value, null, 2));

  // ── packed data ───────────────────────────────────────────────────────────────────────────

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  async function readRecord(entry) {
    if (lastBlock.id !== entry.block) {
      if (document.readyState === "loading") {
        await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
      }
      lastBlock = { id: entry.block, records: await unpack(byId(`block-${entry.block}`).textContent) };
    }
    return lastBlock.records[entry.at];
  }

  // Criteria × attempts; `sides` has for each solver its attempts, {name, met, score}.
  function matrix(label, rubric, sides) {
    const names = Object.keys(sides).filter((side) => sides[side].length);
    const columns = names.flatMap((side) => sides[side].map((attempt, at) => ({ ...attempt, edge: at === 0 ? "first" : "" })));
    const isTight = columns.length > 10 && columns.some(({ score }) => !Number.isInteger(score ?? 0)); // decimals on a phone
    const cell = (met, edge) => {
      const [look, sign, text] = met === undefined ? ["none", "–", "not judged"] : met ? ["met", "●", "met"] : ["unmet", "○", "not met"];
      return make("td", { class: `${look} ${edge}` }, make("span", { "aria-hidden": "true" }, sign), make("span", { class: "hidden" }, text));
    };
    const lines = rubric.map((criterion, index) =>
      make("tr", {},
        make("th", { scope: "row", dir: "auto" }, criterion.text, criterion.capability ? make("small", {}, ` ${criterion.capability}`) : ""),
        make("td", {}, criterion.weight > 0 ? `+${criterion.weight}` : `−${-criterion.weight}`),
        ...columns.map(({ met, edge }) => cell(met ? met[index] : undefined, edge))));
    return make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": label },
      make("table", { class: isTight ? "matrix is-tight" : "matrix" },
        make("caption", {}, "Rubric: the criteria that each attempt meets (● met, ○ not met, – not judged)"),
        make("thead", {},
          make("tr", {}, make("th", { scope: "col", rowSpan: 2 }, "criterion"), make("th", { scope: "col", rowSpan: 2 }, "points"),
            ...names.map((side) => make("th", { scope: "colgroup", colSpan: sides[side].length, class: "first", style: `--span: ${sides[side].length}` }, side))),
          make("tr", {}, ...columns.map(({ name, edge }) => make("th", { scope: "col", class: edge }, String(name))))),
        make("tbody", {}, ...lines),
        make("tfoot", {}, make("tr", {}, make("th", { scope: "row" }, "score"), make("td"),
          ...columns.map(({ score, edge }) => make("td", { class: edge }, number(score)))))));
  }

  // Connects a list to its filters, to the address of the page, and to the buttons for other pages of the list.
  function listen(filter, follow, turn) {
    addEventListener("hashchange", follow);
    byId("filters").addEventListener("input", filter);
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const [id, step] of [["earlier", -1], ["later", 1]]) byId(id).addEventListener("click", () => turn(step));
  }

  return { byId, words, number, count, make, prose, titled, fold, json, matrix, unpack, readRecord, listen };
})();
