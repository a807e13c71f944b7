package live

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/termtest"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenTests compare the view after begin, and the summary after end and an error.
var goldenTests = []struct {
	name  string
	begin func(s *script)
	end   func(s *script)
	err   error
}{
	{"builds", builds, buildsEnd, errors.New("no")},
	{"interrupted", builds, func(s *script) { s.Interrupt() }, errors.New("interrupted")},
	{"noplan", noPlan, buildsEnd, errors.New("no")},
	{"fetch", fetch, func(s *script) { s.stop("copies") }, nil},
	{"copy", copying, func(s *script) { s.stop("all") }, nil},
	{"others", others, func(s *script) {}, nil},
	{"odd", odd, func(s *script) {}, nil},
	{"quiet", func(s *script) { s.startRequest() }, func(s *script) {}, nil},
}

func builds(s *script) {
	s.startRequest()
	s.progress("builds", 0, 14, 0, 0)
	s.Plan(planOf(
		"system: web mail docs", "web: openssl zlib nginx-module", "mail: openssl sieve", "docs: pandoc",
		"openssl: perl", "zlib: cc", "perl: cc", "cc:", "nginx-module: web-sources", "web-sources:", "sieve: broken",
		"broken: cc", "pandoc: ghc", "ghc:",
	))
	manyBuilds(s)
}

func noPlan(s *script) {
	s.startRequest()
	s.progress("builds", 0, 14, 0, 0)
	manyBuilds(s)
}

func manyBuilds(s *script) {
	s.build("cc")
	s.wait(83 * time.Second)
	s.progress("builds", 1, 14, 0, 0)
	s.stop("cc")
	s.build("perl")
	s.build("ghc")
	s.result("ghc", activity.SetPhase, "buildPhase")
	s.build("broken")
	s.result("broken", activity.SetPhase, "checkPhase")
	s.build("zlib")
	s.wait(4 * time.Second)
	s.logs("broken", "running the tests", "FAIL: one of them", "1 of 12 failed")
	s.progress("builds", 1, 13, 3, 1)
	s.stop("broken")
	s.log("error: Cannot build '" + drvOf("broken") + "'.\nReason: builder failed with exit code 2.")
	s.progress("builds", 2, 13, 2, 1)
	s.stop("zlib")
	s.start("web-sources", activity.Build, "", "", drvOf("web-sources"), "ssh-ng://builder", 1, 1)
	s.logs("ghc", "[ 12 of 480] Compiling GHC.Data.FastString")
	s.wait(time.Second)
}

func buildsEnd(s *script) {
	for i, name := range []string{"perl", "ghc", "web-sources"} {
		s.progress("builds", 3+i, 14, 2-i, 1)
		s.stop(name)
	}
	s.stop("builds")
	s.wait(time.Minute)
}

func fetch(s *script) {
	s.startRequest()
	s.start("ask", activity.Unknown, "", "querying info about missing paths")
	s.stop("ask")
	s.progress("copies", 0, 3, 2, 0)
	s.result("realise", activity.SetExpected, int(activity.CopyPath), 90<<20)
	for _, name := range []string{"glibc-2.40", "a-package-with-a-long-name-that-does-not-fit-anywhere-1.0"} {
		path := strings.TrimSuffix(drvOf(name), ".drv")
		s.start(name, activity.Substitute, "", "", path, "https://cache.example.org")
		s.start(name+"/copy", activity.CopyPath, name, "copying path '"+path+"'", path, "https://cache.example.org", "local")
		s.start(name+"/file", activity.FileTransfer, name+"/copy", "downloading 'https://cache.example.org/nar/x'", "https://cache.example.org/nar/x")
	}
	s.start("nar", activity.FileTransfer, "", "downloading 'https://example.org/source.tar.gz'", "https://example.org/source.tar.gz")
	for i := range 8 {
		s.wait(500 * time.Millisecond)
		s.progress("glibc-2.40/file", i<<18, 0, 0, 0)
		s.progress("glibc-2.40/copy", (i+1)<<21, 30<<20, 0, 0)
		s.progress("nar", i<<10, 9000, 0, 0)
	}
	s.stop("nar")
}

func copying(s *script) {
	s.start("all", activity.CopyPaths, "", "copying 40 paths")
	s.result("all", activity.SetExpected, int(activity.CopyPath), 500<<20)
	for i := range 7 {
		s.progress("all", i, 40, 1, 0)
		name := fmt.Sprintf("part-%d", i)
		s.start(name, activity.CopyPath, "all", "copying path", strings.TrimSuffix(drvOf(name), ".drv"), "", "")
		s.wait(700 * time.Millisecond)
		s.progress(name, 3<<20, 10<<20, 0, 0)
		if i < 6 {
			s.progress(name, 10<<20, 10<<20, 0, 0)
			s.stop(name)
		}
	}
}

func others(s *script) {
	s.start("verify", activity.VerifyPaths, "", "checking path contents")
	s.progress("verify", 120, 4000, 0, 2)
	s.result("verify", activity.CorruptedPath, "/nix/store/x")
	s.result("verify", activity.UntrustedPath, "/nix/store/x")
	s.start("optimise", activity.OptimiseStore, "", "")
	s.start("link", activity.OptimiseStore, "", "optimising")
	s.result("link", activity.FileLinked, 4096, 8)
	s.result("link", activity.FileLinked, 4096, 8)
	s.start("hook", activity.PostBuildHook, "", "running post-build-hook", drvOf("hello"))
	s.start("wait", activity.BuildWaiting, "", "waiting for a machine to build '"+drvOf("hello")+"'", drvOf("hello"), "")
	s.start("tree", activity.FetchTree, "", "fetching Git repository")
	s.result("tree", activity.FetchStatus, "receiving objects: 12%")
	s.wait(3 * time.Second)
}

func odd(s *script) {
	s.build("日本語の名前がとても長いパッケージ")
	s.logs("日本語の名前がとても長いパッケージ", "コンパイル中です、しばらくお待ちください、あと少しで終わります、本当です")
	s.build("colours")
	s.logs("colours", "\x1b[32mgreen\x1b[0m \x1b[2J\x1b[H\x1b]0;owned\x07and \x1b[?1049hgone")
	s.build("progress-bar")
	s.logs("progress-bar", "10%\r20%\r30%")
	s.build("marks")
	s.logs("marks", "z\u0301\u0302\u0303\u0304\u0305\u0306algo \u202ereversed\u202c zero\u200bwidth 👨\u200d👩\u200d👧 🇩🇪 e\u0301")
	s.build("bytes")
	s.logs("bytes", "\xff\xfe\x00 \u009b31m")
	s.wait(time.Second)
}

func TestGolden(t *testing.T) {
	for _, c := range goldenTests {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.begin(s)
			var b strings.Builder
			for _, size := range []struct{ columns, rows int }{{80, 24}, {40, 10}, {20, 5}} {
				fmt.Fprintf(&b, "-- %d×%d --\n%s", size.columns, size.rows, renderOn(t, s, size.columns, size.rows))
			}
			ascii := s.Lines(s.now, 79, 23, Style{})
			fmt.Fprintf(&b, "-- in ASCII --\n%s\n", strings.Join(ascii, "\n"))
			c.end(s)
			s.Finish(c.err, s.now)
			fmt.Fprintf(&b, "-- at the end --\n%s\n", strings.Join(append(s.Messages(s.now), s.Summary(s.now, Style{Unicode: true})...), "\n"))
			compareGolden(t, filepath.Join("testdata", c.name+".golden"), b.String())
		})
	}
}

// renderOn returns what a terminal of a size shows.
func renderOn(t *testing.T, s *script, columns, rows int) string {
	t.Helper()
	term := termtest.NewScreen(columns, rows)
	var sc screen
	lines := s.Lines(s.now, columns-1, rows-1, Style{Unicode: true, Color: true})
	term.Write([]byte(sc.frame(nil, lines, columns, rows)))
	if wrong := term.Unsupported(); wrong != nil {
		t.Errorf("unsupported output %q", wrong)
	}
	if got := len(term.Lines()); got != len(lines) {
		t.Errorf("%d lines take %d rows", len(lines), got)
	}
	return strings.Join(term.Lines(), "\n") + "\n"
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}
