// A chart of bars as SVG: candles while they fit, else closes; volume below; a mark where the price factor changes.

const SVG = "http://www.w3.org/2000/svg";
const SPACE = { left: 76, right: 14, top: 12, bottom: 40 };
const VOLUME = 72;
const GAP = 22;

function draw(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

/** Steps of 1, 2 or 5 times a power of ten between low and high, about `wanted` of them. */
export function ticks(low, high, wanted = 5) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => span / each <= wanted);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/** A number with its thousands apart. */
export function figure(value) {
  return Number(value).toLocaleString("en-US", { maximumFractionDigits: 10 });
}

function short(value) {
  for (const [size, sign] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= size) return `${figure(value / size)}${sign}`;
  return figure(value);
}

/**
 * Draw bars into `place`.
 * bars   lists of one length: label, open, high, low, close, volume, factor; numbers or null
 * told   {price, volume, name}: the axes' titles with units, and what a screen reader says
 * point  called with the index below the pointer, null when it leaves
 */
export function drawBars(place, bars, told, point) {
  const width = Math.max(320, place.clientWidth);
  const height = Math.max(240, place.clientHeight);
  const count = bars.label.length;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", told.name);
  const bottom = height - SPACE.bottom;
  const split = bottom - VOLUME - GAP;
  const step = (width - SPACE.left - SPACE.right) / count;
  const x = (index) => SPACE.left + step * (index + 0.5);
  const known = (values) => values.filter((value) => value !== null && Number.isFinite(value));
  const prices = known([...bars.low, ...bars.high, ...bars.close]);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  const y = (price) => split - ((price - low + room) / (high - low + 2 * room)) * (split - SPACE.top);
  const most = Math.max(...known(bars.volume), 0) || 1;
  const v = (volume) => bottom - (volume / most) * VOLUME;

  for (const price of ticks(low, high)) {
    draw(svg, "line", { class: "grid", x1: SPACE.left, x2: width - SPACE.right, y1: y(price), y2: y(price) });
    draw(svg, "text", { x: SPACE.left - 8, y: y(price) + 4, "text-anchor": "end" }, figure(price));
  }
  for (const volume of [0, most]) {
    const text = volume ? short(Number(most.toPrecision(3))) : "0";
    draw(svg, "text", { x: SPACE.left - 8, y: v(volume) + 4, "text-anchor": "end" }, text);
  }
  draw(svg, "line", { class: "grid", x1: SPACE.left, x2: width - SPACE.right, y1: bottom, y2: bottom });
  const titles = [[told.price, (split + SPACE.top) / 2], [told.volume, bottom - VOLUME / 2]];
  for (const [title, middle] of titles) {
    draw(svg, "text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, title);
  }
  const every = Math.max(1, Math.ceil((count * 96) / (width - SPACE.left)));
  for (let index = Math.floor(Math.min(every, count) / 2); index < count; index += every) {
    if (x(index) + 40 > width) break;
    draw(svg, "text", { x: x(index), y: bottom + 17, "text-anchor": "middle" }, bars.label[index]);
  }
  draw(svg, "text", { x: (SPACE.left + width) / 2, y: height - 5, "text-anchor": "middle" }, told.time);

  const thick = Math.max(1, Math.min(9, step * 0.64));
  bars.volume.forEach((volume, index) => {
    if (volume !== null) draw(svg, "rect", { class: "volume", x: x(index) - thick / 2, width: thick, y: v(volume), height: bottom - v(volume) });
  });
  const isWhole = (index) => [bars.open, bars.high, bars.low].every((values) => values[index] !== null);
  if (step >= 4) {
    bars.close.forEach((close, index) => {
      if (close === null || !isWhole(index)) return;
      const kind = close >= bars.open[index] ? "up" : "down";
      draw(svg, "line", { class: kind, x1: x(index), x2: x(index), y1: y(bars.high[index]), y2: y(bars.low[index]) });
      const [above, below] = [Math.max(close, bars.open[index]), Math.min(close, bars.open[index])];
      draw(svg, "rect", { class: kind, x: x(index) - thick / 2, width: thick, y: y(above), height: Math.max(1, y(below) - y(above)) });
    });
  } else {
    let path = "";
    let isDown = false;
    bars.close.forEach((close, index) => {
      if (close !== null) path += `${isDown ? "L" : "M"}${x(index).toFixed(1)} ${y(close).toFixed(1)}`;
      isDown = close !== null;
    });
    draw(svg, "path", { class: "close", d: path });
  }
  bars.factor.forEach((factor, index) => {
    const before = bars.factor[index - 1];
    if (index === 0 || factor === null || before === null || before === factor) return;
    const place = (x(index - 1) + x(index)) / 2;
    draw(svg, "line", { class: "mark", x1: place, x2: place, y1: SPACE.top, y2: bottom });
    if (Math.abs(before / factor - 1) < 0.05) return;
    const isLate = index > count * 0.8;
    draw(svg, "text", { x: place + (isLate ? -6 : 6), y: SPACE.top + 10, "text-anchor": isLate ? "end" : "start" }, `factor ${before} before`);
  });

  const cross = draw(svg, "line", { class: "cross", y1: SPACE.top, y2: bottom, visibility: "hidden" });
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const index = Math.floor((at - SPACE.left) / step);
    if (index < 0 || index >= count) return;
    cross.setAttribute("x1", x(index));
    cross.setAttribute("x2", x(index));
    cross.setAttribute("visibility", "visible");
    point(index);
  });
  svg.addEventListener("pointerleave", () => {
    cross.setAttribute("visibility", "hidden");
    point(null);
  });
  place.replaceChildren(svg);
}
