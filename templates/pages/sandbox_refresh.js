// Replaces the parts that changed, so the reader keeps the scroll position, the opened folds and what is being typed.
(() => {
  let seen = document.documentElement.dataset.revision;
  let busy = false;
  const replace = (part, fresh) => {
    const open = [...part.querySelectorAll("details")].map((fold) => fold.open);
    const left = [...part.querySelectorAll("[data-scroll]")].map((box) => box.scrollLeft);
    const [x, y] = [scrollX, scrollY];
    part.innerHTML = fresh.innerHTML;
    const folds = part.querySelectorAll("details");
    if (folds.length === open.length) folds.forEach((fold, index) => { fold.open = open[index]; });
    part.querySelectorAll("[data-scroll]").forEach((box, index) => { box.scrollLeft = left[index] ?? 0; });
    scrollTo(x, y);
  };
  const look = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const revision = await (await fetch("/_sandbox/revision")).text();
      if (revision === seen) return;
      const answer = await fetch(location.href);
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh && fresh.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) replace(part, fresh);
      }
      document.title = page.title;
      seen = revision;
    } catch {
      // The sandbox is restarting; the next look will find it.
    } finally {
      busy = false;
    }
  };
  setInterval(look, 1000);
})();
