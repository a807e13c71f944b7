package viewtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"pix/storepath"
)

// The page can be used with the keyboard alone.
func TestKeyboard(t *testing.T) {
	small := newSmall(t)
	srv := serve(t, small, small.App)
	b := open(t)
	b.load(srv)
	b.useTable()
	b.usePicture()
	b.useSearch()
	b.useTreemap()
	b.useSuggestions("lib", small.Lib)
	b.checkFocus()
}

// focus gives an element the focus.
func (b *tab) focus(selector string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf("document.querySelector(%q).focus(); null", selector))
}

// focusLabel returns the label of the element that has the focus.
func (b *tab) focusLabel() string {
	b.t.Helper()
	return eval[string](b, "document.activeElement.getAttribute('aria-label')")
}

// useTable moves through the table of paths, and opens the row that the arrow keys have reached with Enter.
func (b *tab) useTable() {
	active := func() string { return eval[string](b, "document.querySelector('.row.active .label')?.innerText ?? ''") }
	b.focus(".rows")
	first := active()
	b.key(kb.ArrowDown)
	second := active()
	if first == "" || second == "" || first == second {
		b.t.Errorf("the arrow key moves from %q to %q", first, second)
	}
	b.key(kb.End, kb.Home)
	if got := active(); got != first {
		b.t.Errorf("Home moves to %q", got)
	}
	b.key(kb.Enter)
	b.wait("document.querySelector('.layered .box') !== null")
}

// usePicture moves along the references in the picture of the neighbours, and opens another path.
func (b *tab) usePicture() {
	b.focus(".layered .box[tabindex='0']")
	from := b.focusLabel()
	b.key(kb.ArrowRight)
	to := b.focusLabel()
	if from == to || !strings.HasPrefix(from, "app-1.0") {
		b.t.Errorf("the arrow key moves from %q to %q", from, to)
	}
	b.key(kb.Enter)
	b.wait("document.querySelector('h1').innerText !== 'app-1.0'")
}

// useSearch moves to the search with /, which works everywhere.
func (b *tab) useSearch() {
	eval[any](b, "document.activeElement.blur(); null")
	b.do(chromedp.KeyEvent("/"))
	eval[any](b, "document.activeElement.value = ''; null") // unlike a keyboard, the driver sends the character in any case
	b.do(chromedp.KeyEvent("sou"))
	b.wait("document.querySelectorAll('.body .row').length === 1")
	if got := eval[string](b, "document.activeElement.type"); got != "search" {
		b.t.Errorf("the focus is at %s", got)
	}
}

// useTreemap moves from one rectangle to another.
func (b *tab) useTreemap() {
	b.goTo("#/treemap")
	b.wait("document.querySelector('.tile') !== null")
	b.focus(".tile[tabindex='0']")
	before := b.focusLabel()
	b.key(kb.ArrowRight)
	if after := b.focusLabel(); after == before {
		b.t.Errorf("the arrow key stays at %q", before)
	}
}

// useSuggestions picks the path that the first suggestion for a text names.
func (b *tab) useSuggestions(text string, path storepath.Path) {
	b.goTo("#/compare")
	b.wait("document.querySelector('.picker input') !== null")
	b.focus(".picker input")
	b.do(chromedp.KeyEvent(text))
	b.wait("document.querySelector('.suggestions li') !== null")
	b.key(kb.ArrowDown, kb.Enter)
	b.wait(fmt.Sprintf("decodeURIComponent(location.hash).includes('before=%s')", path))
}

// checkFocus checks that every element that the Tab key reaches has a visible focus.
func (b *tab) checkFocus() {
	b.goTo("#/paths")
	b.wait("document.querySelector('.body .row') !== null")
	for range 12 {
		b.key(kb.Tab)
		if visible := eval[bool](b, `(() => {
			const at = document.activeElement;
			if (at === document.body) return true;
			const style = getComputedStyle(at.matches(".rows") ? document.querySelector(".row.active") : at);
			return style.outlineStyle !== "none";
		})()`); !visible {
			b.t.Errorf("the focus is not visible at %s", eval[string](b, "document.activeElement.className + ' ' + document.activeElement.innerText"))
		}
	}
}
