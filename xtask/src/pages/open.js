// Opens what Perfetto's page shows closed, once it has a trace. The page works in another thread,
// and the browser's virtual time stands still while a request is under way: so it is waited for.
(async () => {
  const wait = async times => {
    for (let number = 0; number < times; number++) await fetch(`wait?${number}`);
  };
  const open = () => document.querySelector(".pf-track") && document.querySelector("[title='Expand all']");
  for (let waits = 0; waits < 240 && !open(); waits++) await wait(1);
  document.querySelector("[title='Hide sidebar'], .pf-sidebar button, .pf-sidebar-button")?.click();
  open()?.click();
  await wait(20);
})();
