package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/derivation"
	"pix/localstore"
	"pix/storepath"
)

// victimVariable makes the test binary a process that builds, and is killed.
const victimVariable = "PIX_TEST_BUILD"

// A victim says what such a process builds.
type victim struct {
	Dir, Root, StoreDir, StateDir, LogDir string

	Sandbox      SandboxMode
	SandboxPaths []SandboxPath

	Path storepath.Path
	Text string
}

// runVictim builds, and ends the process.
func runVictim(text string) {
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	ctx := context.Background()
	dir, err := storepath.ParseDir(v.Dir)
	if err != nil {
		panic(err)
	}
	s, err := localstore.Open(ctx, &localstore.Options{Dir: dir, Root: v.Root, StoreDir: v.StoreDir, StateDir: v.StateDir, LogDir: v.LogDir})
	if err != nil {
		panic(err)
	}
	d, err := derivation.ParseAt(v.Path, v.Text)
	if err != nil {
		panic(err)
	}
	result, err := New(s, &Options{Sandbox: v.Sandbox, SandboxPaths: v.SandboxPaths}).Build(ctx, &Request{Path: v.Path, Derivation: d})
	fmt.Printf("%+v, %v\n", result, err)
	os.Exit(0)
}

// startVictim starts a process that builds.
func (p *place) startVictim(req *Request) *exec.Cmd {
	p.t.Helper()
	o := p.storeOpts
	text, err := json.Marshal(victim{
		Dir: string(p.store.Dir()), Root: o.Root, StoreDir: o.StoreDir, StateDir: o.StateDir, LogDir: o.LogDir,
		Sandbox: p.opts.Sandbox, SandboxPaths: p.opts.SandboxPaths, Path: req.Path, Text: req.Derivation.String(),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text))
	if testing.Verbose() {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return cmd
}

// A process can be killed at any point of a build: no process and no mount is left, and the next build removes the
// directories.
func TestKilled(t *testing.T) {
	rounds := 5
	if os.Getenv("PIX_LONG") != "" {
		rounds = 200
	}
	both(t, func(t *testing.T, p *place) {
		p.killed = true
		for round := range rounds {
			sleep := sleeper()
			req := p.script(fmt.Sprintf("victim%d", round), "mkdir d d/e; (sleep "+sleep+" &); echo > $out; chmod 0 d; sleep 0.1", nil)
			cmd := p.startVictim(req)
			time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			p.checkGone(sleep)
			p.mustBuild(p.script(fmt.Sprintf("next%d", round), "echo > $out", nil))
			p.checkMounts()
			if valid, err := p.store.IsValidPath(t.Context(), outOf(req)); err != nil {
				t.Error(err)
			} else if _, err := os.Lstat(p.store.ObjectFile(outOf(req))); valid != (err == nil) {
				t.Errorf("the output is valid: %v, exists: %v", valid, err)
			}
		}
	})
}

func outOf(req *Request) storepath.Path {
	out, _ := req.Derivation.Outputs.Get("out")
	return out.Path()
}

// checkMounts checks that nothing is mounted below the store.
func (p *place) checkMounts() {
	p.t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		p.t.Fatal(err)
	}
	dir := filepath.Dir(p.store.ObjectFile(p.anyPath()))
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, dir) {
			p.t.Errorf("there is a mount: %s", line)
		}
	}
}
