"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const first = 100;
  const state = { slice: 0, sort: "estimate", up: false, text: "", reliability: "", all: false, area: null };

  const node = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 10 });
  const figure = (value, unit) =>
    value === null ? "" : unit === "%" ? `${(100 * value).toFixed(1).replace(/\.0$/, "")}\u00a0%`
      : number(value) + (unit ? ` ${unit}` : "");
  const word = (name, code) => data.texts[name][code];

  const rowsOf = (slice) => slice.area.map((area, k) => ({
    area: word("area", area), estimate: slice.estimate[k], low: slice.ci_low[k], high: slice.ci_high[k],
    reliability: word("reliability", slice.reliability[k]), flag: word("flag", slice.flag[k]),
    reason: word("reason", slice.reason[k]), direct: slice.direct[k], best: slice.rank_low[k], worst: slice.rank_high[k],
    side: slice.side[k], lacking: slice.lacking[k], place: k, shown: slice.estimate[k] !== null,
  }));
  const tone = (row) => (row.side > 0 ? "up" : row.side < 0 ? "down" : "same") + (row.flag.includes("u") ? " unsure" : "");

  // an axis over all figures of the slice, with round ticks
  const axisOf = (values, width, left = 0) => {
    const known = values.filter((value) => value !== null && Number.isFinite(value));
    let low = Math.min(...known), high = Math.max(...known);
    if (!known.length) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    const ticks = [], margin = 0.03 * (high - low), start = Math.ceil((low - margin) / step - 1e-9);
    for (let k = start; k * step <= high + margin; k += 1) ticks.push(Number((k * step).toPrecision(12)));
    [low, high] = [low - margin, high + margin];
    return { at: (value) => left + (width * (value - low)) / (high - low), ticks, low, high };
  };

  const visible = (rows) => {
    const text = state.text.trim().toLocaleLowerCase();
    const kept = rows.filter((row) => (!text || row.area.toLocaleLowerCase().includes(text)) &&
      (!state.reliability || (row.shown ? row.reliability : "no figure") === state.reliability));
    const value = { area: (row) => row.area, estimate: (row) => row.estimate, width: (row) => row.high - row.low,
      reliability: (row) => row.reliability, best: (row) => row.best }[state.sort];
    const sign = state.up ? 1 : -1;
    return kept.sort((one, two) => {
      if (one.shown !== two.shown && state.sort !== "area") return one.shown ? -1 : 1;
      if (!one.shown && state.sort !== "area") return one.area.localeCompare(two.area);
      const a = value(one), b = value(two);
      const order = typeof a === "string" ? a.localeCompare(b) : a - b;
      return sign * order || one.place - two.place;
    });
  };

  const lineWords = (slice) => slice.reference === null ? "" :
    `The dashed line is ${slice.national ? "the national figure" : "the median of the areas shown"}, ${figure(slice.reference, slice.unit)}.`;

  const bar = (row, axis, slice, width) => {
    const y = 11, svg = drawn("svg", { width, height: 23, viewBox: `0 0 ${width} 23`, class: tone(row), "aria-hidden": "true" });
    for (const tick of axis.ticks) svg.append(drawn("line", { class: "grid", x1: axis.at(tick), x2: axis.at(tick), y1: 0, y2: 23 }));
    if (slice.reference !== null)
      svg.append(drawn("line", { class: "reference", x1: axis.at(slice.reference), x2: axis.at(slice.reference), y1: 0, y2: 23 }));
    if (row.low !== null) svg.append(drawn("line", { class: "range", x1: axis.at(row.low), x2: axis.at(row.high), y1: y, y2: y }));
    svg.append(drawn("circle", { class: "dot", cx: axis.at(row.estimate), cy: y, r: 4.5 }));
    return svg;
  };
  const rankBar = (row, count) => {
    const width = 130, step = width / count;
    const svg = drawn("svg", { width, height: 23, viewBox: `0 0 ${width} 23`, "aria-hidden": "true" });
    svg.append(drawn("line", { class: "grid", x1: 0, x2: width, y1: 11, y2: 11 }),
      drawn("rect", { class: "rank", x: (row.best - 1) * step, y: 7, width: Math.max((row.worst - row.best + 1) * step, 2), height: 8 }));
    return svg;
  };

  const draw = () => {
    const slice = data.slices[state.slice], rows = rowsOf(slice), kept = visible(rows);
    const ranked = rows.some((row) => row.best !== null), count = rows.filter((row) => row.shown).length;
    const phone = window.innerWidth < 700, width = phone ? 130 : 300, pad = 22;
    const axis = axisOf(rows.flatMap((row) => [row.low, row.high, row.estimate]).concat(slice.reference), width - 2 * pad, pad);
    const heads = [["area", "Area"], ["estimate", "Figure"], ["width", "Range"], [null, ""], ["reliability", "Reliability"]];
    if (ranked) heads.push(["best", "Ranks"], [null, `1 to ${count}`]);
    const names = heads.map(([key, text], k) => {
      const classes = [k === 1 || k === 2 ? "number" : "", k === 2 || k === 4 || k > 5 ? "wide" : "", k > 5 ? "rank-bar" : ""].filter(Boolean).join(" ");
      if (key) {
        const button = node("button", { type: "button", "data-sort": key }, text);
        const order = state.sort !== key ? "none" : state.up ? "ascending" : "descending";
        if (order !== "none") button.append(state.up ? " ▲" : " ▼");
        return node("th", { scope: "col", "aria-sort": order, ...(classes && { class: classes }) }, button);
      }
      const cell = node("th", { scope: "col", ...(classes && { class: classes }) });
      if (k === 3) {
        const svg = drawn("svg", { width, height: 18, viewBox: `0 0 ${width} 18`, role: "img",
          "aria-label": `Axis from ${figure(axis.ticks[0], slice.unit)} to ${figure(axis.ticks.at(-1), slice.unit)}` });
        const some = phone || axis.ticks.length > 6 ? [axis.ticks[0], axis.ticks.at(-1)] : axis.ticks;
        for (const tick of some) svg.append(drawn("text", { x: axis.at(tick), y: 14, "text-anchor": "middle" }, figure(tick, slice.unit)));
        cell.append(svg);
      } else cell.append(text);
      return cell;
    });
    byId("rows").tHead.replaceChildren(node("tr", {}, ...names));
    const part = state.all ? kept : kept.slice(0, first);
    byId("rows").tBodies[0].replaceChildren(...part.map((row) => {
      const name = node("th", { scope: "row" }, node("button", { type: "button", "data-area": row.area }, row.area));
      if (!row.shown)
        return node("tr", { class: "withheld" }, name, node("td", { colspan: heads.length - 1 }, `no figure: ${row.reason}`));
      const cells = [node("td", { class: "number" }, figure(row.estimate, slice.unit)),
        node("td", { class: "number wide" }, row.low === null ? "" : `${figure(row.low, "%" === slice.unit ? "%" : "").replace("\u00a0%", "")} to ${figure(row.high, slice.unit)}`),
        node("td", { class: "bar" }, bar(row, axis, slice, width)), node("td", { class: "wide" }, row.reliability)];
      if (ranked) cells.push(node("td", { class: "number" }, `${row.best} to ${row.worst}`), node("td", { class: "bar wide rank-bar" }, rankBar(row, count)));
      return node("tr", {}, name, ...cells);
    }));
    const rest = kept.length - part.length;
    byId("more").hidden = rest <= 0;
    byId("more").textContent = `Show the other ${rest} rows`;
    byId("count").textContent = `${kept.length} of ${rows.length} areas, ${kept.filter((row) => row.shown).length} with a figure.`;
    byId("line").textContent = lineWords(slice);
  };

  const drawPairs = () => {
    const slice = data.slices[state.slice], table = byId("matrix"), names = rowsOf(slice).filter((row) => row.shown).map((row) => row.area);
    table.replaceChildren();
    const apart = slice.pairs && slice.pairs.some((line) => line.some((told) => told));
    byId("pairs-note").textContent = slice.pairs && !apart ? "No two of these areas can be told apart."
      : slice.pairs ? "▲ the area of the row is higher than that of the column, ▼ lower, an empty cell: they cannot be told apart. Among all that are marked, about one in twenty may be wrong."
      : names.length > 60 ? `With ${names.length} areas the table of pairs would not be read; the ranks say it in short.`
        : "Pairs need two areas with a figure and their joint error.";
    if (!apart) return;
    const head = node("tr", {}, node("td", {}), ...names.map((name) => node("th", { scope: "col" }, name)));
    const body = names.map((name, i) => node("tr", {}, node("th", { scope: "row" }, name), ...slice.pairs[i].map((told, j) => {
      if (i === j) return node("td", {}, "·");
      const cell = node("td", told ? { class: told > 0 ? "up" : "down" } : {}, told > 0 ? "▲" : told < 0 ? "▼" : "");
      cell.title = `${name} ${told > 0 ? "is higher than" : told < 0 ? "is lower than" : "cannot be told apart from"} ${names[j]}`;
      return cell;
    })));
    table.append(node("caption", {}, "Pairs of the areas with a figure, the highest first."), node("thead", {}, head), node("tbody", {}, ...body));
  };

  const drawDirect = () => {
    const slice = data.slices[state.slice], rows = rowsOf(slice).filter((row) => row.shown && row.direct !== null);
    const place = byId("direct");
    if (rows.length < 2) {
      place.replaceChildren(node("figcaption", { class: "quiet" }, "No direct estimates may stand beside the figures here, or their policy could not be read again."));
      return;
    }
    const size = 420, left = 60, axis = axisOf(rows.flatMap((row) => [row.direct, row.estimate]), size - left - 20);
    const x = (value) => left + axis.at(value), y = (value) => size - 50 - axis.at(value) * (size - 70) / (size - left - 20);
    const svg = drawn("svg", { viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img",
      "aria-label": `${rows.length} areas: direct estimate across, figure shown upwards` });
    for (const tick of axis.ticks) svg.append(
      drawn("line", { class: "grid", x1: x(tick), x2: x(tick), y1: y(axis.low), y2: y(axis.high) }),
      drawn("line", { class: "grid", x1: x(axis.low), x2: x(axis.high), y1: y(tick), y2: y(tick) }),
      drawn("text", { x: x(tick), y: size - 32, "text-anchor": "middle" }, figure(tick, slice.unit)),
      drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, figure(tick, slice.unit)));
    svg.append(drawn("line", { class: "reference", x1: x(axis.low), y1: y(axis.low), x2: x(axis.high), y2: y(axis.high) }),
      drawn("text", { x: (left + size) / 2, y: size - 8, "text-anchor": "middle" }, "direct estimate"),
      drawn("text", { x: 2, y: 12 }, "figure shown"));
    for (const row of rows) {
      const dot = drawn("circle", { class: "dot", cx: x(row.direct), cy: y(row.estimate), r: 4 });
      dot.append(drawn("title", {}, `${row.area}: direct ${figure(row.direct, slice.unit)}, shown ${figure(row.estimate, slice.unit)}`));
      svg.append(dot);
    }
    place.replaceChildren(svg);
  };

  const drawMissing = () => {
    const slice = data.slices[state.slice], rows = rowsOf(slice).filter((row) => !row.shown), table = byId("missing");
    const known = rows.filter((row) => row.lacking !== null), total = known.reduce((sum, row) => sum + row.lacking, 0);
    const price = (n) => `${data.currency ? `${data.currency} ` : ""}${number(n * data.cost)}`;
    byId("missing-note").textContent = !rows.length ? "Every area of this selection has a figure."
      : `${rows.length} areas have no figure. ` + (known.length
        ? `About ${number(total)} more interviews a period would give one to ${known.length} of them${data.cost ? `, at a cost of about ${price(total)}` : "; the price of an interview was not given"}.`
        : "How many interviews they lack is not known here.");
    table.replaceChildren();
    if (!rows.length) return;
    const heads = ["Area", "Why", "Interviews lacking", ...(data.cost ? ["Cost"] : [])];
    table.append(node("caption", {}, "Interviews are rounded up to 10, 20, 50, 100 and so on; none are given where the records are confidential."),
      node("thead", {}, node("tr", {}, ...heads.map((text, k) => node("th", { scope: "col", ...(k > 1 && { class: "number" }) }, text)))),
      node("tbody", {}, ...rows.map((row) => node("tr", {}, node("th", { scope: "row" }, row.area), node("td", {}, row.reason),
        node("td", { class: "number" }, row.lacking === null ? "not known" : number(row.lacking)),
        ...(data.cost ? [node("td", { class: "number" }, row.lacking === null ? "" : price(row.lacking))] : [])))));
  };

  const drawMap = () => {
    if (!data.map) return;
    const slice = data.slices[state.slice], rows = new Map(rowsOf(slice).map((row) => [row.area, row])), map = data.map;
    const svg = drawn("svg", { viewBox: `0 0 ${map.width} ${map.height}`, width: 640, height: Math.round(640 * map.height / map.width),
      role: "img", "aria-label": `Map of the areas. ${lineWords(slice)} The table has the same figures.` },
      drawn("defs", {}, drawn("pattern", { id: "hatch", width: 12, height: 12, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        drawn("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 12 }))));
    for (const [name, path] of Object.entries(map.paths)) {
      const row = rows.get(name), shape = drawn("path", { d: path, class: row && row.shown ? `area ${tone(row)}` : "area none" });
      shape.append(drawn("title", {}, row && row.shown ? `${name}: ${figure(row.estimate, slice.unit)}` : `${name}: no figure`));
      svg.append(shape);
    }
    const lost = map.lost.length ? ` Not on the map: ${map.lost.join(", ")}.` : "";
    byId("map").replaceChildren(svg, node("figcaption", { class: "quiet" }, lineWords(slice).replace("dashed line", "reference") + lost));
  };

  // one area over the periods, all else as it is chosen
  const drawCity = () => {
    const place = byId("city"), slice = data.slices[state.slice];
    const row = rowsOf(slice).find((one) => one.area === state.area);
    place.hidden = !row;
    if (!row) return;
    const close = node("button", { type: "button", id: "close" }, "Close");
    const words = row.shown
      ? `${figure(row.estimate, slice.unit)}${row.low === null ? "" : `, between ${figure(row.low, slice.unit)} and ${figure(row.high, slice.unit)}`}: ${row.reliability}. ` +
        (slice.reference === null ? "" : row.side > 0 ? "Its whole range lies above the dashed line." : row.side < 0 ? "Its whole range lies below the dashed line." : "It cannot be told apart from the dashed line.")
      : `There is no figure: ${row.reason}.`;
    place.replaceChildren(node("h3", { tabindex: "-1", id: "city-name" }, row.area), node("p", {}, words));
    const time = data.picks.findIndex((pick) => pick.name === "time");
    if (time >= 0) {
      const same = data.slices.filter((one) => one.key.every((value, k) => k === time || value === slice.key[k]));
      const line = same.map((one) => ({ time: one.time, ...(rowsOf(one).find((each) => each.area === row.area) ?? { shown: false, flag: "" }) }))
        .sort((one, two) => one.time.localeCompare(two.time, "en", { numeric: true }));
      place.append(trend(line, slice));
    }
    place.append(close);
  };
  const trend = (line, slice) => {
    const width = 560, height = 200, left = 60, axis = axisOf(line.flatMap((one) => one.shown ? [one.low, one.high, one.estimate] : []), height - 50);
    const x = (k) => left + 25 + (k * (width - left - 50)) / Math.max(line.length - 1, 1), y = (value) => height - 30 - axis.at(value);
    const said = line.map((one) => `${one.time}: ${one.shown ? figure(one.estimate, slice.unit) : "no figure"}`).join("; ");
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": said });
    for (const tick of axis.ticks) svg.append(drawn("line", { class: "grid", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
      drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, figure(tick, slice.unit)));
    line.forEach((one, k) => {
      const broken = one.flag.endsWith("b");
      if (broken) svg.append(drawn("line", { class: "reference", x1: x(k - 0.5), x2: x(k - 0.5), y1: 10, y2: height - 30 }),
        drawn("text", { x: x(k - 0.5) + 3, y: 18 }, "break"));
      const last = line[k - 1];
      if (one.shown && last?.shown && !broken)
        svg.append(drawn("line", { class: "axis", x1: x(k - 1), y1: y(last.estimate), x2: x(k), y2: y(one.estimate) }));
      svg.append(drawn("text", { x: x(k), y: height - 10, "text-anchor": "middle" }, one.time));
      if (!one.shown) return;
      if (one.low !== null) svg.append(drawn("line", { class: "range", x1: x(k), x2: x(k), y1: y(one.low), y2: y(one.high) }));
      svg.append(drawn("circle", { class: "dot", cx: x(k), cy: y(one.estimate), r: 4 }));
    });
    return node("figure", {}, svg, node("figcaption", { class: "quiet" }, "The periods of the report. Whether a change is real, its own test says, not this line."));
  };

  const change = () => {
    const slice = data.slices[state.slice];
    [...byId("answers").querySelectorAll("dd")].forEach((cell, k) => { cell.textContent = slice.said[k]; });
    const words = [...new Set(rowsOf(slice).map((row) => (row.shown ? row.reliability : "no figure")))].sort();
    const kept = words.includes(state.reliability) ? state.reliability : "";
    state.reliability = kept;
    byId("reliability").replaceChildren(node("option", { value: "" }, "all"), ...words.map((text) => node("option", { value: text }, text)));
    byId("reliability").value = kept;
    draw(); drawPairs(); drawDirect(); drawMissing(); drawMap(); drawCity();
  };

  // a text that a spreadsheet would execute stands after an apostrophe
  const cell = (text) => {
    const safe = /^'*\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const download = () => {
    const slice = data.slices[state.slice], rows = visible(rowsOf(slice));
    const heads = [...data.picks.map((pick) => pick.name), "area", "estimate", "ci_low", "ci_high", "reliability", "flag", "reason"];
    const plain = (value) => (value === null ? "" : String(value));
    const lines = rows.map((row) => [...slice.key.map(cell), cell(row.area),
      ...(row.shown ? [row.estimate, row.low, row.high].map(plain) : [":", ":", ":"]), cell(row.reliability), cell(row.flag), cell(row.reason)].join(","));
    const blob = new Blob([`\ufeff${[heads.map(cell).join(","), ...lines].join("\r\n")}\r\n`], { type: "text/csv" });
    const link = node("a", { href: URL.createObjectURL(blob), download: "rows.csv" });
    document.body.append(link);
    link.click();
    link.remove();
    URL.revokeObjectURL(link.href);
  };

  byId("picks").addEventListener("change", () => {
    const chosen = [...byId("picks").querySelectorAll("select")].map((select, k) => data.picks[k].values[Number(select.value)]);
    const found = data.slices.findIndex((slice) => slice.key.every((value, k) => value === chosen[k]));
    if (found < 0) {
      byId("count").textContent = "The report has no rows for this selection.";
      byId("rows").tBodies[0].replaceChildren();
      return;
    }
    state.slice = found;
    state.all = false;
    change();
  });
  byId("search").addEventListener("input", (event) => { state.text = event.target.value; draw(); });
  byId("reliability").addEventListener("change", (event) => { state.reliability = event.target.value; draw(); });
  byId("more").addEventListener("click", () => { state.all = true; draw(); });
  byId("download").addEventListener("click", download);
  byId("rows").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.sort) {
      state.up = state.sort === button.dataset.sort ? !state.up : ["area", "best", "width"].includes(button.dataset.sort);
      state.sort = button.dataset.sort;
      draw();
      byId("rows").querySelector(`button[data-sort="${state.sort}"]`).focus();
    } else {
      state.area = button.dataset.area;
      drawCity();
      byId("city-name").focus();
    }
  });
  byId("city").addEventListener("click", (event) => {
    if (event.target.id !== "close") return;
    const name = state.area;
    state.area = null;
    drawCity();
    [...byId("rows").querySelectorAll("button[data-area]")].find((button) => button.dataset.area === name)?.focus();
  });
  window.addEventListener("beforeprint", () => { state.all = true; draw(); });
  let last = window.innerWidth < 700;
  window.addEventListener("resize", () => { if ((window.innerWidth < 700) !== last) { last = !last; draw(); } });
  change();
})();
