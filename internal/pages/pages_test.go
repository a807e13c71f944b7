package pages

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCheck(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# Title\n\n```text one\nold\n```\n\nand\n\n```json two\n```\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	produced := map[string]string{"one": "new\nlines", "two": "{}\n"}
	Check(t, page, produced, true)
	Check(t, page, produced, false)
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Title\n\n```text one\nnew\nlines\n```\n\nand\n\n```json two\n{}\n```\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}
