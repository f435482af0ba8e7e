"use strict";
(() => {
  const SHOWN = 30;
  const clusters = JSON.parse(document.getElementById("search-data").textContent);
  const box = document.getElementById("search-box");
  const status = document.getElementById("search-status");
  const results = document.getElementById("search-results");
  let haystacks = null;

  const element = (name, className, ...children) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };

  // texts become text nodes and nothing else: whatever a question holds stays text
  const highlighted = (text, terms) => {
    const node = element("bdi");
    node.dir = "auto";
    const lower = text.toLowerCase();
    // where lower case has another length, positions do not carry over
    const exact = lower.length === text.length;
    let at = 0;
    while (exact && at < text.length) {
      let next = null;
      for (const term of terms) {
        const found = lower.indexOf(term, at);
        if (found >= 0 && (next === null || found < next.found || (found === next.found && term.length > next.length))) {
          next = { found, length: term.length };
        }
      }
      if (next === null) break;
      node.append(text.slice(at, next.found), element("mark", "", text.slice(next.found, next.found + next.length)));
      at = next.found + next.length;
    }
    node.append(text.slice(at));
    return node;
  };

  const question = ([id, text], terms) => {
    const code = element("code", "", id);
    code.dir = "ltr";
    const shown = text === null ? element("span", "muted", "text not available") : highlighted(text, terms);
    return element("span", "q", code, " ", shown);
  };

  const shown = ([id, size, review, members], terms) => {
    const summary = element("summary", "", element("span", "size", size.toLocaleString("en")), question(members[0], terms));
    if (review) summary.append(element("span", "tags", element("span", "tag review", "review")));
    const list = element("ul");
    for (const member of members) {
      const score = member[2] === null ? "–" : member[2].toFixed(3);
      list.append(element("li", "", question(member, terms), element("span", "n muted", score)));
    }
    const details = element("details", "cluster", summary, list);
    if (size > members.length) {
      details.append(element("p", "muted", `${(size - members.length).toLocaleString("en")} more questions are not in this page.`));
    }
    return details;
  };

  const search = () => {
    const terms = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    results.replaceChildren();
    status.textContent = "";
    if (terms.length === 0) return;
    haystacks ??= clusters.map(([id, , , members]) =>
      [id, ...members.map(([member, text]) => `${member} ${text ?? ""}`)].join("\n").toLowerCase());
    const found = [];
    let count = 0;
    haystacks.forEach((haystack, at) => {
      if (!terms.every((term) => haystack.includes(term))) return;
      count += 1;
      if (found.length < SHOWN) found.push(clusters[at]);
    });
    const more = count > SHOWN ? `, the ${SHOWN} largest shown` : "";
    status.textContent = count === 1 ? "1 cluster" : `${count.toLocaleString("en")} clusters${more}`;
    results.append(...found.map((cluster) => shown(cluster, terms)));
    if (found.length > 0) results.firstElementChild.open = true;
  };

  // #q=words in the address searches at once, so that a search can be kept and sent
  const fromAddress = () => {
    if (!location.hash.startsWith("#q=")) return;
    try {
      box.value = decodeURIComponent(location.hash.slice(3));
    } catch {
      box.value = location.hash.slice(3);
    }
    search();
    document.getElementById("search").scrollIntoView();
  };

  let pending = 0;
  box.addEventListener("input", () => {
    clearTimeout(pending);
    pending = setTimeout(() => {
      search();
      history.replaceState(null, "", box.value ? `#q=${encodeURIComponent(box.value)}` : "#search");
    }, 120);
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();

  // the slider walks through the rows of the table; without this script the table is all there is
  const slider = document.getElementById("threshold-slider");
  if (slider === null) return;
  const PLOT = { left: 60, width: 325, top: 8, height: 198 };
  const rows = [...document.querySelectorAll("#threshold-table tbody tr")];
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  line.id = "threshold-line";
  line.setAttribute("y1", PLOT.top);
  line.setAttribute("y2", PLOT.top + PLOT.height);
  document.querySelector("#threshold-chart svg").append(line);
  const targets = ["value", "precision", "recall", "pairs", "clusters"].map((name) => document.getElementById(`threshold-${name}`));
  const choose = () => {
    const row = rows[slider.valueAsNumber];
    rows.forEach((other) => other.classList.toggle("chosen", other === row));
    targets.forEach((target, at) => { target.textContent = row.cells[at].textContent; });
    const x = PLOT.left + PLOT.width * Number(row.dataset.place);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    const table = row.closest(".tall");
    table.scrollTop = row.offsetTop - table.clientHeight / 2;
    slider.setAttribute("aria-valuetext", row.cells[0].textContent);
  };
  slider.addEventListener("input", choose);
  document.getElementById("threshold-control").hidden = false;
  choose();
})();
