/** The style sheet of a page: light and dark by what the reader's system asks for. */
export const style = `
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; --tile: #e6e9ed; --focus: #0550ae; --strong: #1b1f24 }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --text: #e6edf3; --soft: #9ea7b3; --line: #30363d; --tile: #21262d; --focus: #79c0ff; --strong: #ffffff }
}
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; background: var(--back); color: var(--text) }
main, header { padding: 0 1.5rem; max-width: 110rem; margin: 0 auto }
h1 { font-size: 1.35rem; overflow-wrap: anywhere; margin: 1rem 0 .3rem }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; overflow-wrap: anywhere }
p { margin: .3rem 0 }
.soft { color: var(--soft) }
.images { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 2rem }
canvas { display: block; width: 100%; border: 1px solid var(--line) }
canvas:focus-visible, select:focus-visible, summary:focus-visible, button:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px }
output { display: block; min-height: 2.9em; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace }
table { border-collapse: collapse; font-size: .9rem; width: 100% }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .4rem 0 }
ul.legend span { display: inline-block; width: .9em; height: .9em; margin-right: .4em; vertical-align: -.1em; border: 1px solid var(--line) }
button, select { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 4px; padding: .15rem .5rem }
`;
