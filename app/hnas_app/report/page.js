"use strict";
// Shows the text of the mark that is nearest to the pointer, and copies commands. Loads nothing.
(() => {
  const REACH = 28; // pixels
  const tip = document.getElementById("tip"), ring = document.getElementById("ring");
  const hide = () => { tip.hidden = ring.hidden = true; };
  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };

  function show(event, marks, byRow) {
    let nearest = null, reach = REACH;
    for (const [mark, text] of marks) {
      const [x, y] = middle(mark);
      const away = byRow ? Math.abs(y - event.clientY) : Math.hypot(x - event.clientX, y - event.clientY);
      if (away < reach) { nearest = { x, y, text }; reach = away; }
    }
    if (!nearest) return hide();
    tip.textContent = nearest.text;
    tip.hidden = false;
    ring.hidden = byRow;
    ring.style.left = `${nearest.x - 8}px`;
    ring.style.top = `${nearest.y - 8}px`;
    const left = (byRow ? event.clientX : nearest.x) + 14;
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
    const below = nearest.y + 14;
    tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : Math.max(8, nearest.y - tip.offsetHeight - 14)}px`;
  }

  for (const figure of document.querySelectorAll("figure[data-prefix]")) {
    const texts = JSON.parse(figure.querySelector("script").textContent), marks = [];
    for (const [gid, lines] of Object.entries(texts)) {
      const group = document.getElementById(`${figure.dataset.prefix}-${gid}`);
      group?.querySelectorAll("use").forEach((mark, i) => { if (i in lines) marks.push([mark, lines[i]]); });
    }
    const follow = (event) => show(event, marks, "byRow" in figure.dataset);
    figure.addEventListener("pointermove", follow);
    figure.addEventListener("pointerdown", follow);
    figure.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  }
  addEventListener("scroll", hide, { passive: true });

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(text); // pages from the disk may not write to the clipboard
        button.textContent = "selected";
      }
    });
  }
})();
