// Makes pages quicker that work without it: search as you type, and buttons that copy commands.
"use strict";
(() => {
  const input = document.querySelector("[data-search]");
  const results = document.querySelector("[data-results]");
  if (input && results) {
    let timer, last = input.value, running;
    const look = async () => {
      if (input.value === last) return;
      last = input.value;
      if (running) running.abort();
      running = new AbortController();
      const query = new URLSearchParams({ q: last });
      try {
        const answer = await fetch("/search?part=1&" + query, { signal: running.signal });
        if (!answer.ok) return;
        results.innerHTML = await answer.text();
        history.replaceState(null, "", "/search?" + query);
      } catch (error) {
        if (error.name !== "AbortError") throw error;
      }
    };
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, 150);
    });
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      await navigator.clipboard.writeText(code.innerText.trim());
      const before = button.textContent;
      button.textContent = button.dataset.copy;
      setTimeout(() => { button.textContent = before; }, 1500);
    });
  }
})();
