// What makes the customers' pages pleasanter. Nothing needs it: without it, every page still works.
(() => {
  "use strict";

  // The server writes times in the reader's zone, once it knows which that is.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.cookie.split("; ").includes("webhooks_timezone=" + zone);
  if (zone && !known) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = "webhooks_timezone=" + zone + "; Path=/; Max-Age=31536000; SameSite=Lax" + secure;
  }

  function localTimes(root) {
    if (known) return;
    const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
    for (const time of root.querySelectorAll("time[datetime]")) {
      const exact = format.format(new Date(time.dateTime));
      time.title = exact;
      const shown = time.querySelector(".exact");
      if (shown) shown.textContent = exact;
    }
  }

  // <button data-copy="id of the element">: hidden until here, since without this it could do nothing. One that is not hidden
  // has been here already, and stayed while what is around it was swapped.
  function copyButtons(root) {
    for (const button of root.querySelectorAll("button[data-copy][hidden]")) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      button.addEventListener("click", async () => {
        const source = document.getElementById(button.dataset.copy);
        await navigator.clipboard.writeText("value" in source ? source.value : source.textContent);
        const before = button.textContent;
        button.textContent = button.dataset.copied;
        setTimeout(() => { button.textContent = before; }, 2000);
      });
    }
  }

  // <input data-filters="id of a list">: shows only the list's entries that contain the typed text.
  function filters(root) {
    for (const input of root.querySelectorAll("input[data-filters]")) {
      input.closest("[hidden]")?.removeAttribute("hidden");
      input.addEventListener("input", () => {
        const wanted = input.value.trim().toLowerCase();
        const list = document.getElementById(input.dataset.filters);
        for (const entry of list.querySelectorAll("[data-name]")) {
          entry.hidden = !entry.dataset.name.toLowerCase().includes(wanted);
        }
        for (const group of list.querySelectorAll("[data-group]")) {
          group.hidden = !group.querySelector("[data-name]:not([hidden])");
        }
      });
    }
  }

  // On a narrow screen rows of links go on beyond its edge: where the reader is now must not be there.
  function showCurrent() {
    for (const link of document.querySelectorAll(".top nav a[aria-current], .quick a[aria-current]")) {
      const row = link.closest("ul");
      row.scrollLeft = link.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
    }
  }

  function enliven(root) {
    localTimes(root);
    copyButtons(root);
    filters(root);
  }

  // What was unfolded before htmx listened is brought now.
  function bringUnfolded() {
    if (!window.htmx) return;
    for (const part of document.querySelectorAll("details[hx-get][open]")) htmx.trigger(part, "toggle");
  }

  document.addEventListener("DOMContentLoaded", () => { enliven(document); showCurrent(); bringUnfolded(); });
  document.addEventListener("htmx:load", (event) => { if (event.target !== document.body) enliven(event.target); });
})();
