package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/storepath"
)

// A real Nix confirms the hashes and paths in the pages.
func TestPagesAgainstNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "bookworm"), nil)
	checkErr(t, os.WriteFile(d.HostPath("/tmp/hello"), []byte("hello world"), 0o666))
	checkErr(t, os.CopyFS(d.HostPath("/tmp/example"), os.DirFS(exampleTree(t))))

	conn, err := daemon.Dial(t.Context(), d.Socket, nil)
	checkErr(t, err)
	defer conn.Close()
	greeting, err := conn.AddTextToStore(t.Context(), "greeting.drv", greetingDrv(t), nil)
	checkErr(t, err)
	top, _ := farewell(t)
	topDrv, err := conn.AddTextToStore(t.Context(), "farewell.drv", top.String(), []storepath.Path{greeting})
	checkErr(t, err)
	fixedDrv, err := conn.AddTextToStore(t.Context(), "hello.drv", download(t).String(), nil)
	checkErr(t, err)

	for _, test := range []struct {
		page    string
		command []string
	}{
		{"base-32.md", []string{"nix-hash", "--type", "sha256", "--flat", "--base32", "/tmp/hello"}},
		{"hashes.md", []string{"nix-hash", "--type", "sha256", "--flat", "/tmp/hello"}},
		{"nar.md", []string{"nix-hash", "--type", "sha256", "--base32", "/tmp/hello"}},
		{"nar.md", []string{"nix-hash", "--type", "sha256", "--base32", "/tmp/example"}},
		{"store-paths.md", []string{"nix-store", "--add", "/tmp/example"}},
		{"store-paths.md", []string{"nix-store", "--add-fixed", "sha256", "/tmp/hello"}},
		{"store-paths.md", []string{"nix-store", "--add-fixed", "--recursive", "sha1", "/tmp/hello"}},
		{"derivations.md", []string{"nix-store", "--query", "--outputs", string(greeting)}},
		{"derivations.md", []string{"nix-store", "--realise", string(topDrv)}},
		{"derivations.md", []string{"nix-store", "--query", "--outputs", string(fixedDrv)}},
	} {
		page, err := os.ReadFile(filepath.Join(".", test.page))
		checkErr(t, err)
		answer := strings.TrimSpace(d.MustRun(t, test.command...))
		if answer == "" || !strings.Contains(string(page), answer) {
			t.Errorf("%s prints %s, which is not in %s", strings.Join(test.command, " "), answer, test.page)
		}
	}
}
