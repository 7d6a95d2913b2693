"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const first = 100;
  const state = { printing: false, slice: 0, sort: "estimate", up: false, text: "", reliability: "", all: false, area: null };

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
  // a text of the catalogue, filled
  const text = (key, values = {}) => data.words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const counted = (key, number) => text(number === 1 ? `${key}_one` : key, { count: numeral(number) });
  const numeral = (value) => value.toLocaleString("en", { maximumSignificantDigits: 10 })
    .replace(/[.,]/g, (sign) => (sign === "." ? data.signs.decimal : data.signs.group));
  const figure = (value, unit) =>
    value === null ? "" : unit === "%" ? numeral(Number((100 * value).toFixed(1))) + data.signs.percent
      : numeral(value) + (unit ? ` ${unit}` : "");
  const word = (name, code) => data.texts[name][code];

  const rowsOf = (slice) => slice.area.map((area, k) => ({
    area: word("area", area), estimate: slice.estimate[k], low: slice.ci_low[k], high: slice.ci_high[k],
    reliability: word("reliability", slice.reliability[k]), flag: word("flag", slice.flag[k]),
    reason: word("reason", slice.reason[k]), direct: slice.direct[k], best: slice.rank_low[k], worst: slice.rank_high[k],
    side: slice.side[k], lacking: slice.lacking[k], place: k, shown: slice.estimate[k] !== null,
    change: word("change", slice.change[k]), since: word("since", slice.since[k]), class: slice.class[k],
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
    const wanted = state.text.trim().toLocaleLowerCase();
    const kept = rows.filter((row) => (!wanted || row.area.toLocaleLowerCase().includes(wanted)) &&
      (!state.reliability || (row.shown ? row.reliability : text("no_figure")) === state.reliability));
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
    const phone = window.innerWidth < 700 && !state.printing, width = phone ? 100 : 300, pad = phone ? 17 : 22;
    const axis = axisOf(rows.flatMap((row) => [row.low, row.high, row.estimate]).concat(slice.reference), width - 2 * pad, pad);
    const heads = [["area", text("area")], ["estimate", text("figure")], ["width", text("range")], [null, ""], ["reliability", text("reliability")]];
    if (ranked) heads.push(["best", text("ranks")], [null, text("rank_scale", { count })]);
    const names = heads.map(([key, name], k) => {
      const classes = [k === 1 || k === 2 ? "number" : "", k === 2 || k === 4 || k > 5 ? "wide" : "", k > 5 ? "rank-bar" : ""].filter(Boolean).join(" ");
      if (key && !state.printing) { // a browser prints no buttons in the head of a later page
        const button = node("button", { type: "button", "data-sort": key }, name);
        const order = state.sort !== key ? "none" : state.up ? "ascending" : "descending";
        if (order !== "none") button.append(state.up ? " ▲" : " ▼");
        return node("th", { scope: "col", "aria-sort": order, ...(classes && { class: classes }) }, button);
      }
      const cell = node("th", { scope: "col", ...(classes && { class: classes }) });
      if (k === 3) {
        const [low, high] = [axis.ticks[0], axis.ticks.at(-1)];
        const svg = drawn("svg", { width, height: 18, viewBox: `0 0 ${width} 18`, role: "img", overflow: "visible",
          "aria-label": text("axis", { low: figure(low, slice.unit), high: figure(high, slice.unit) }) });
        const letters = Math.max(...axis.ticks.map((tick) => figure(tick, slice.unit).length)); // of some 7 pixels each
        const every = axis.ticks.length < 2 ? 1 : Math.ceil((7 * letters + 8) / (axis.at(axis.ticks[1]) - axis.at(low)));
        const some = phone || axis.ticks.length > 6 * every ? [low, high] : axis.ticks.filter((_, k) => k % every === 0);
        for (const tick of some) svg.append(drawn("text", { x: axis.at(tick), y: 14, "text-anchor": "middle" }, figure(tick, slice.unit)));
        cell.append(svg);
      } else cell.append(name, state.sort === key ? (state.up ? " ▲" : " ▼") : "");
      return cell;
    });
    byId("rows").tHead.replaceChildren(node("tr", {}, ...names));
    const part = state.all ? kept : kept.slice(0, first);
    byId("rows").tBodies[0].replaceChildren(...part.map((row) => {
      const name = node("th", { scope: "row" }, node("button", { type: "button", "data-area": row.area }, row.area));
      if (!row.shown)
        return node("tr", { class: "withheld" }, name, node("td", { colspan: heads.length - 1 }, text("no_figure_because", { reason: row.reason })));
      const low = figure(row.low, slice.unit).replace(slice.unit === "%" ? data.signs.percent : "", "");
      const cells = [node("td", { class: "number" }, figure(row.estimate, slice.unit)),
        node("td", { class: "number wide" }, row.low === null ? "" : text("from_to", { low, high: figure(row.high, slice.unit) })),
        node("td", { class: "bar" }, bar(row, axis, slice, width)), node("td", { class: "wide" }, row.reliability)];
      if (ranked) cells.push(node("td", { class: "number" }, text("from_to", { low: row.best, high: row.worst })), node("td", { class: "bar wide rank-bar" }, rankBar(row, count)));
      return node("tr", {}, name, ...cells);
    }));
    const rest = kept.length - part.length;
    byId("more").hidden = rest <= 0;
    byId("more").textContent = text("show_more", { count: numeral(rest) });
    byId("count").textContent = text("count", { kept: numeral(kept.length), rows: counted("areas", rows.length), shown: numeral(kept.filter((row) => row.shown).length) });
    byId("line").textContent = slice.line;
    byId("chosen").textContent = data.picks.map((pick, k) => `${pick.head}: ${pick.labels[pick.values.indexOf(slice.key[k])]}`).join("; ");
  };

  const drawPairs = () => {
    const slice = data.slices[state.slice], table = byId("matrix"), names = rowsOf(slice).filter((row) => row.shown).map((row) => row.area);
    table.replaceChildren();
    const apart = slice.pairs && slice.pairs.some((line) => line.some((sign) => sign));
    byId("pairs-note").textContent = slice.pairs ? text(apart ? "pairs_note" : "pairs_none")
      : names.length > 60 ? text("pairs_many", { count: numeral(names.length) }) : text("pairs_lacking");
    if (!apart) return;
    const head = node("tr", {}, node("td", {}), ...names.map((name) => node("th", { scope: "col" }, name)));
    const body = names.map((name, i) => node("tr", {}, node("th", { scope: "row" }, name), ...slice.pairs[i].map((sign, j) => {
      if (i === j) return node("td", {}, "·");
      const cell = node("td", sign ? { class: sign > 0 ? "up" : "down" } : {}, sign > 0 ? "▲" : sign < 0 ? "▼" : "");
      cell.title = text(sign > 0 ? "pair_higher" : sign < 0 ? "pair_lower" : "pair_same", { one: name, other: names[j] });
      return cell;
    })));
    table.append(node("caption", {}, text("pairs_caption")), node("thead", {}, head), node("tbody", {}, ...body));
  };

  const drawDirect = () => {
    const slice = data.slices[state.slice], rows = rowsOf(slice).filter((row) => row.shown && row.direct !== null);
    const place = byId("direct");
    byId("direct-note").hidden = rows.length < 2;
    if (rows.length < 2) {
      place.replaceChildren(node("figcaption", { class: "quiet" }, text("direct_none")));
      return;
    }
    const size = 420, left = 60, axis = axisOf(rows.flatMap((row) => [row.direct, row.estimate]), size - left - 20);
    const x = (value) => left + axis.at(value), y = (value) => size - 50 - axis.at(value) * (size - 70) / (size - left - 20);
    const svg = drawn("svg", { viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img",
      "aria-label": text("direct_label", { count: rows.length }) });
    for (const tick of axis.ticks) svg.append(
      drawn("line", { class: "grid", x1: x(tick), x2: x(tick), y1: y(axis.low), y2: y(axis.high) }),
      drawn("line", { class: "grid", x1: x(axis.low), x2: x(axis.high), y1: y(tick), y2: y(tick) }),
      drawn("text", { x: x(tick), y: size - 32, "text-anchor": "middle" }, figure(tick, slice.unit)),
      drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, figure(tick, slice.unit)));
    svg.append(drawn("line", { class: "reference", x1: x(axis.low), y1: y(axis.low), x2: x(axis.high), y2: y(axis.high) }),
      drawn("text", { x: (left + size) / 2, y: size - 8, "text-anchor": "middle" }, text("direct_across")),
      drawn("text", { x: 2, y: 12 }, text("direct_up")));
    for (const row of rows) {
      const dot = drawn("circle", { class: "dot", cx: x(row.direct), cy: y(row.estimate), r: 4 });
      dot.append(drawn("title", {}, text("direct_dot", { area: row.area, direct: figure(row.direct, slice.unit), figure: figure(row.estimate, slice.unit) })));
      svg.append(dot);
    }
    place.replaceChildren(svg);
  };

  const drawMissing = () => {
    const slice = data.slices[state.slice], rows = rowsOf(slice).filter((row) => !row.shown), table = byId("missing");
    const known = rows.filter((row) => row.lacking !== null), total = known.reduce((sum, row) => sum + row.lacking, 0);
    const price = (n) => `${data.currency ? `${data.currency} ` : ""}${numeral(n * data.cost)}`;
    table.replaceChildren();
    if (!rows.length) {
      byId("missing-note").textContent = text("missing_none");
      return;
    }
    const extra = known.length
      ? text("missing_extra", { extra: numeral(total), known: numeral(known.length) }) +
        (data.cost ? text("missing_price", { price: price(total) }) : text("missing_no_price"))
      : text("missing_unknown");
    byId("missing-note").textContent = `${text("missing_count", { areas: counted("areas", rows.length) })} ${extra}`;
    const heads = [text("area"), text("missing_why"), text("missing_interviews"), ...(data.cost ? [text("missing_cost")] : [])];
    table.append(node("caption", {}, text("missing_caption")),
      node("thead", {}, node("tr", {}, ...heads.map((name, k) => node("th", { scope: "col", ...(k > 1 && { class: "number" }) }, name)))),
      node("tbody", {}, ...rows.map((row) => node("tr", {}, node("th", { scope: "row" }, row.area), node("td", {}, row.reason),
        node("td", { class: "number" }, row.lacking === null ? text("not_known") : numeral(row.lacking)),
        ...(data.cost ? [node("td", { class: "number" }, row.lacking === null ? "–" : price(row.lacking))] : [])))));
  };

  // the class of a row as the style knows it: five shades, of which fewer classes take those far apart
  const shade = (row, count) => !row || !row.shown ? "none" : row.class < 0 ? "open"
    : `c${count < 2 ? 2 : Math.round((4 * row.class) / (count - 1))}`;
  const patterns = () => drawn("defs", {},
    drawn("pattern", { id: "hatch", width: 12, height: 12, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      drawn("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 12 })),
    drawn("pattern", { id: "dots", width: 14, height: 14, patternUnits: "userSpaceOnUse" },
      drawn("rect", { class: "ground", width: 14, height: 14 }), drawn("circle", { class: "speck", cx: 4, cy: 4, r: 2.2 }),
      drawn("circle", { class: "speck", cx: 11, cy: 11, r: 2.2 })));
  const drawMap = () => {
    if (!data.map) return;
    const slice = data.slices[state.slice], map = data.map, count = slice.classes.length;
    const rows = new Map(rowsOf(slice).map((row) => [row.area, row]));
    const label = (row) => !row || !row.shown ? text("map_hidden") : row.class < 0 ? text("map_unsure") : slice.classes[row.class];
    const svg = drawn("svg", { viewBox: `0 0 ${map.width} ${map.height}`, width: 640, height: Math.round(640 * map.height / map.width),
      role: "img", "aria-label": text("map_label") }, patterns());
    for (const [name, path] of Object.entries(map.paths)) {
      const row = rows.get(name), shape = drawn("path", { d: path, class: `area ${shade(row, count)}` });
      shape.append(drawn("title", {}, row && row.shown ? `${name}: ${figure(row.estimate, slice.unit)}, ${label(row)}` : `${name}: ${label(row)}`));
      svg.append(shape);
    }
    const kinds = [...slice.classes.map((name, k) => [name, { shown: true, class: k }]).reverse(),
      [text("map_unsure"), { shown: true, class: -1 }], [text("map_hidden"), null]];
    byId("map-key").replaceChildren(...kinds.map(([name, row]) => node("li", {},
      drawn("svg", { class: "swatch", width: 18, height: 14, viewBox: "0 0 36 28", "aria-hidden": "true" }, drawn("rect", { class: `area ${shade(row, count)}`, width: 36, height: 28 })), name)));
    const lines = kinds.map(([name]) => node("li", {}, `${name}: ${[...rows.values()].filter((row) => label(row) === name).map((row) => row.area).join(", ") || text("map_nobody")}.`));
    const lost = map.lost.length ? [node("figcaption", { class: "quiet" }, text("map_lost", { areas: map.lost.join(", ") }))] : [];
    byId("map").replaceChildren(svg, ...lost, node("details", {}, node("summary", {}, text("map_text")), node("ul", { id: "map-text" }, ...lines)));
  };

  // one area over the periods, all else as it is chosen
  const drawCity = () => {
    const place = byId("city"), slice = data.slices[state.slice];
    const row = rowsOf(slice).find((one) => one.area === state.area);
    place.hidden = !row;
    if (!row) return;
    const close = node("button", { type: "button", id: "close" }, text("close"));
    const filled = { figure: figure(row.estimate, slice.unit), low: figure(row.low, slice.unit), high: figure(row.high, slice.unit), reliability: row.reliability };
    const side = slice.reference === null ? "" : text(row.side > 0 ? "city_up" : row.side < 0 ? "city_down" : "city_tie");
    const sentence = row.shown ? `${text(row.low === null ? "city_is_plain" : "city_is", filled)} ${side}` : text("city_hidden_row", { reason: row.reason });
    place.replaceChildren(node("h3", { tabindex: "-1", id: "city-name" }, row.area), node("p", {}, sentence));
    const time = data.picks.findIndex((pick) => pick.name === "time");
    if (time >= 0) {
      const same = data.slices.filter((one) => one.key.every((value, k) => k === time || value === slice.key[k]));
      const known = new Map(same.map((one) => [one.time, rowsOf(one).find((each) => each.area === row.area)]));
      place.append(...trend(data.periods.map((period) => ({ time: period, row: known.get(period), there: known.has(period) })), slice));
    }
    place.append(close);
  };
  const trend = (line, slice) => {
    const width = 560, height = 200, left = 60, shown = line.filter((one) => one.row?.shown);
    const axis = axisOf(shown.flatMap(({ row }) => [row.low, row.high, row.estimate]), height - 50);
    const x = (k) => left + 25 + (k * (width - left - 50)) / Math.max(line.length - 1, 1), y = (value) => height - 30 - axis.at(value);
    const every = Math.ceil(line.length / 12); // labels that fit
    const names = line.map((one) => `${one.time}: ${one.row?.shown ? figure(one.row.estimate, slice.unit) : text(one.there ? "no_figure" : "trend_gap")}`);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": names.join("; ") });
    for (const tick of axis.ticks) svg.append(drawn("line", { class: "grid", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
      drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, figure(tick, slice.unit)));
    let last = -1;
    line.forEach(({ time, row, there }, k) => {
      if (k % every === 0 || k === line.length - 1) svg.append(drawn("text", { x: x(k), y: height - 10, "text-anchor": "middle" }, time));
      if (!row?.shown) {
        svg.append(drawn("text", { class: "gap", x: x(k), y: height - 32, "text-anchor": "middle" }, text(there ? "no_figure" : "trend_gap")));
        return;
      }
      const broken = row.change === "break";
      if (broken) svg.append(drawn("line", { class: "reference", x1: x(k - 0.5), x2: x(k - 0.5), y1: 10, y2: height - 30 }),
        drawn("text", { x: x(k - 0.5) + 3, y: 18 }, text("trend_break")));
      else if (last >= 0) svg.append(drawn("line", { class: "axis", x1: x(last), y1: y(line[last].row.estimate), x2: x(k), y2: y(row.estimate) }));
      if (row.low !== null) svg.append(drawn("line", { class: "range", x1: x(k), x2: x(k), y1: y(row.low), y2: y(row.high) }));
      svg.append(drawn("circle", { class: "dot", cx: x(k), cy: y(row.estimate), r: 4 }));
      last = k;
    });
    const steps = shown.filter(({ row }) => row.change).map(({ time, row }) => node("li", {}, text(`step_${row.change}`, { since: row.since, time })));
    return [node("figure", {}, svg, node("figcaption", { class: "quiet" }, text("trend_caption"))), node("ul", { class: "steps" }, ...steps)];
  };

  const change = () => {
    const slice = data.slices[state.slice];
    [...byId("answers").querySelectorAll("dd")].forEach((cell, k) => { cell.textContent = slice.said[k]; });
    const kinds = [...new Set(rowsOf(slice).map((row) => (row.shown ? row.reliability : text("no_figure"))))].sort();
    state.reliability = kinds.includes(state.reliability) ? state.reliability : "";
    byId("reliability").replaceChildren(node("option", { value: "" }, text("all")), ...kinds.map((kind) => node("option", { value: kind }, kind)));
    byId("reliability").value = state.reliability;
    draw(); drawPairs(); drawDirect(); drawMissing(); drawMap(); drawCity();
  };

  // a text that a spreadsheet would execute stands after an apostrophe
  const cell = (content) => {
    const safe = /^'*\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(content) ? `'${content}` : content;
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
    const place = data.slices.findIndex((slice) => slice.key.every((value, k) => value === chosen[k]));
    if (place < 0) {
      byId("count").textContent = text("no_rows");
      byId("rows").tBodies[0].replaceChildren();
      return;
    }
    state.slice = place;
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
  window.addEventListener("beforeprint", () => {
    state.all = state.printing = true;
    draw();
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  window.addEventListener("afterprint", () => { state.printing = false; draw(); });
  let narrow = window.innerWidth < 700;
  window.addEventListener("resize", () => { if ((window.innerWidth < 700) !== narrow) { narrow = !narrow; draw(); } });
  change();
})();
