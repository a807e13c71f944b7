package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pix/internal/testenv"
)

// The release of a commit has the same bytes wherever it is built, and its program and files work.
func TestRelease(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the test runs the program that it builds, for Linux")
	}
	if !testenv.Requires("release") && os.Getenv("PIX_LONG") == "" {
		t.Skip("building pix twice takes long; PIX_TEST_REQUIRE=release enables the test")
	}
	target := runtime.GOOS + "/" + runtime.GOARCH
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	for i, clone := range []string{first, second} {
		if out, err := exec.Command("git", "clone", "--quiet", "../..", clone+"/pix").CombinedOutput(); err != nil {
			t.Skipf("the test builds the release from a clone, and cloning failed: %s", out)
		}
		release := exec.Command(clone+"/pix/scripts/release", clone+"/out", target)
		release.Env = os.Environ()
		if i == 1 && os.Getenv("PIX_LONG") != "" { // otherwise the build cache has the packages of the first release
			release.Env = append(release.Env, "GOCACHE="+t.TempDir())
		}
		if out, err := release.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	sums := func(clone string) string {
		b, err := os.ReadFile(clone + "/out/SHA256SUMS")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if sums(first) != sums(second) {
		t.Errorf("two releases of one commit differ:\n%s%s", sums(first), sums(second))
	}
	checkRelease(t, first+"/out")
}

func checkRelease(t *testing.T, dir string) {
	sh := func(command string) string {
		cmd := exec.Command("sh", "-ec", command)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	sh("sha256sum --check --quiet SHA256SUMS; mkdir root; tar -xzf pix-*.tar.gz --strip-components=1 -C root")
	binary, err := elf.Open(filepath.Join(dir, "root/bin/pix"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("pix is not static: it needs the libraries %q, %v", libraries, err)
	}
	sh(`test "$(root/bin/pix-sh -c 'echo $(echo works)')" = works; test -x root/bin/pix-sandbox`)
	version := strings.Fields(sh("root/bin/pix --version"))
	if commit := strings.TrimSpace(sh("git -C ../pix rev-parse --short=12 HEAD")); len(version) != 3 || !strings.Contains(version[1], commit) && !strings.HasPrefix(version[1], "v") {
		t.Errorf("pix --version is %q, of commit %s", version, commit)
	}
	// The shell is a small program in Go: what pix takes beyond it is its own preparation, which every verb waits for.
	script := leastTime(t, filepath.Join(dir, "root/bin/pix-sh"), "-c", ":")
	if least := leastTime(t, filepath.Join(dir, "root/bin/pix"), "--version"); least > 6*script {
		t.Errorf("pix --version takes %v of processor time at best, and an empty script of pix-sh %v", least, script)
	}
	if name := sh("ls pix-*.tar.gz"); !strings.HasPrefix(name, "pix-"+version[1]+"-linux-") {
		t.Errorf("the archive of %s has the name %s", version[1], name)
	}
	for _, file := range []string{
		"man/man1/pix.1", "man/man1/pix-closure.1", "bash-completion/completions/pix", "zsh/site-functions/_pix",
		"fish/vendor_completions.d/pix.fish", "doc/pix/LICENSE", "doc/pix/docs/command.md",
		"doc/pix/licences/github.com/spf13/cobra/LICENSE.txt", "doc/pix/licences/go/LICENSE",
	} {
		if info, err := os.Stat(filepath.Join(dir, "root/share", file)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty: %v", file, err)
		}
	}
}

// leastTime returns the least processor time of 20 runs of a program: other programs do not change it much.
func leastTime(t *testing.T, program string, args ...string) time.Duration {
	t.Helper()
	least := time.Hour
	for range 20 {
		cmd := exec.Command(program, args...)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return least
}
