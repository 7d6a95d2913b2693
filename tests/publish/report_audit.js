// What WCAG 2.1 AA asks of names, heads, order and contrast, as far as a script can see it.
() => {
  const faults = [];
  const shade = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { light: [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0), a };
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const of = shade(getComputedStyle(at).backgroundColor);
      if (of.a > 0) return of.light;
    }
    return 1;
  };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || ["SCRIPT", "STYLE", "NOSCRIPT", "title"].includes(element.tagName) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), svg = element.namespaceURI.endsWith("svg");
    const front = shade(svg ? style.fill : style.color).light, back = behind(element);
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)} of ${element.tagName} ${element.textContent.slice(0, 30)}`);
  }
  for (const element of document.querySelectorAll("select, input")) if (!element.labels.length) faults.push(`no label: ${element.id}`);
  for (const element of document.querySelectorAll("button, a, th button"))
    if (!element.hidden && !element.textContent.trim()) faults.push(`no name: ${element.outerHTML}`);
  for (const element of document.querySelectorAll("svg"))
    if (element.getAttribute("aria-hidden") !== "true" && !element.getAttribute("aria-label")) faults.push("svg without a name");
  for (const element of document.querySelectorAll("table"))
    if (element.rows.length && (!element.caption || !element.querySelector("th[scope]"))) faults.push(`table ${element.id} without caption or heads`);
  let level = 0;
  for (const element of document.querySelectorAll("h1, h2, h3")) {
    const now = Number(element.tagName[1]);
    if (now > level + 1) faults.push(`heading ${element.textContent} skips a level`);
    level = now;
  }
  for (const element of document.querySelectorAll("[tabindex]")) if (Number(element.tabIndex) > 0) faults.push("positive tabindex");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) faults.push("an id comes twice");
  for (const link of document.querySelectorAll('a[href^="#"]')) if (!document.querySelector(link.getAttribute("href"))) faults.push(`dead link ${link.hash}`);
  if (!document.documentElement.lang || !document.title || !document.querySelector("main")) faults.push("no language, title or main");
  if (document.documentElement.scrollWidth > window.innerWidth) faults.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
  return faults;
}
