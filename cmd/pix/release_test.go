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

// The release of a commit is the same bytes, wherever it is made, and what is in it works.
func TestRelease(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the test runs what it makes, and so is for Linux")
	}
	if !testenv.Requires("release") && os.Getenv("PIX_LONG") == "" {
		t.Skip("it builds pix twice, which takes a while: PIX_TEST_REQUIRE=release asks for it")
	}
	target := runtime.GOOS + "/" + runtime.GOARCH
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	for i, clone := range []string{first, second} {
		if out, err := exec.Command("git", "clone", "--quiet", "../..", clone+"/pix").CombinedOutput(); err != nil {
			t.Skipf("no clone can be made here, and a release is made of one: %s", out)
		}
		release := exec.Command(clone+"/pix/scripts/release", clone+"/out", target)
		release.Env = os.Environ()
		if i == 1 && os.Getenv("PIX_LONG") != "" { // else what was compiled for the first clone is used again
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
		t.Errorf("pix needs the libraries %q, %v", libraries, err)
	}
	version := strings.Fields(sh("root/bin/pix --version"))
	if commit := strings.TrimSpace(sh("git -C ../pix rev-parse --short=12 HEAD")); len(version) != 3 || !strings.Contains(version[1], commit) && !strings.HasPrefix(version[1], "v") {
		t.Errorf("pix --version is %q, of commit %s", version, commit)
	}
	fastest := time.Hour
	for range 20 {
		begin := time.Now()
		sh("exec root/bin/pix --version")
		fastest = min(fastest, time.Since(begin))
	}
	if fastest > 10*time.Millisecond {
		t.Errorf("pix --version takes %v at best", fastest)
	}
	if name := sh("ls pix-*.tar.gz"); !strings.HasPrefix(name, "pix-"+version[1]+"-linux-") {
		t.Errorf("the archive of %s is called %s", version[1], name)
	}
	for _, file := range []string{
		"man/man1/pix.1", "man/man1/pix-closure.1", "bash-completion/completions/pix", "zsh/site-functions/_pix",
		"fish/vendor_completions.d/pix.fish", "doc/pix/LICENSE", "doc/pix/docs/command.md",
		"doc/pix/licences/github.com/spf13/cobra/LICENSE.txt", "doc/pix/licences/go/LICENSE",
	} {
		if info, err := os.Stat(filepath.Join(dir, "root/share", file)); err != nil || info.Size() == 0 {
			t.Errorf("%s is not there, or empty: %v", file, err)
		}
	}
}
