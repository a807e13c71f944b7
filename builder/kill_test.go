package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/derivation"
	"pix/internal/flock"
	"pix/localstore"
	"pix/nixhash"
	"pix/storepath"
)

// victimVariable makes the test binary a process that builds, and is killed.
const victimVariable = "PIX_TEST_BUILD"

// A victim says what such a process builds.
type victim struct {
	Dir, Root, StoreDir, StateDir, LogDir string

	Sandbox      SandboxMode
	SandboxPaths []SandboxPath
	StartID      uint32 // of build users

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
	result, err := New(s, &Options{Sandbox: v.Sandbox, SandboxPaths: v.SandboxPaths, StartID: v.StartID, SystemFeatures: []string{"ca-derivations"}}).Build(ctx, &Request{Path: v.Path, Derivation: d})
	fmt.Printf("%+v, %v\n", result, err)
	os.Exit(0)
}

// startVictim starts a process that builds.
func (p *place) startVictim(req *Request) *exec.Cmd {
	p.t.Helper()
	o := p.storeOpts
	text, err := json.Marshal(victim{
		Dir: string(p.store.Dir()), Root: o.Root, StoreDir: o.StoreDir, StateDir: o.StateDir, LogDir: o.LogDir,
		Sandbox: p.opts.Sandbox, SandboxPaths: p.opts.SandboxPaths, StartID: uint32(automaticUsers), Path: req.Path, Text: req.Derivation.String(),
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
	rounds := 12
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
			p.waitForDead()
			p.mustBuild(p.script(fmt.Sprintf("next%d", round), "echo > $out", nil))
			p.checkMounts()
			valid, err := p.store.IsValidPath(t.Context(), outOf(req))
			if err != nil {
				t.Error(err)
			}
			_, err = os.Lstat(p.store.ObjectFile(outOf(req)))
			switch exists := err == nil; {
			case valid && !exists:
				t.Errorf("the output is valid: %v", err)
			case exists && !valid: // the process was killed after it had moved the output, and before it had registered it
				p.mustBuild(req)
				p.checkGone(sleep)
			}
		}
	})
}

// waitForDead waits until the supervisors of killed processes have ended. They hold the marks of their builds until then, and a build
// waits for them for [deadTime] only, which a busy machine can exceed.
func (p *place) waitForDead() {
	p.t.Helper()
	marks, err := filepath.Glob(filepath.Join(p.store.StateDir(), "builds", "*"+markExt))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range marks {
		f, err := os.Open(name)
		if err != nil {
			p.t.Fatal(err)
		}
		for deadline := time.Now().Add(hang); ; time.Sleep(10 * time.Millisecond) {
			locked, err := flock.Try(f, flock.Exclusive)
			if err != nil {
				p.t.Fatal(err)
			}
			if locked {
				break
			}
			if time.Now().After(deadline) {
				p.t.Fatalf("%s is still locked", name)
			}
		}
		f.Close()
	}
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

// A process can be killed while it copies, places and registers outputs: every valid path is whole, the outputs of a derivation
// that are input-addressed become valid together, and the next build succeeds.
func TestKilledWhileRegistering(t *testing.T) {
	rounds := 6
	if os.Getenv("PIX_LONG") != "" {
		rounds = 200
	}
	both(t, func(t *testing.T, p *place) {
		p.killed = true
		p.opts.SystemFeatures = []string{"ca-derivations"}
		const files = "mkdir $out; for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do echo $out$i$j > $out/$i$j; done; done; "
		for round := range rounds {
			name := fmt.Sprintf("victim%d", round)
			var req *Request
			switch round % 3 {
			case 0:
				req = p.script(name, files+"cp -r $out $dev; cp -r $out $lib", withOutputs("dev", "lib"))
			case 1:
				ca, err := storepath.NewContentAddress(storepath.NAR, zeroHash(t, nixhash.SHA256))
				if err != nil {
					t.Fatal(err)
				}
				req = p.script(name, strings.ReplaceAll(files, "echo $out", "echo "), func(d *derivation.Derivation) {
					d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
				})
			default:
				req = p.script(name, files, func(d *derivation.Derivation) {
					d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
					d.Env.Set("out", string(storepath.OwnPlaceholder("out")))
				})
			}
			cmd := p.startVictim(req)
			time.Sleep(50*time.Millisecond + time.Duration(rand.Int64N(int64(150*time.Millisecond))))
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			p.waitForDead()
			if round%10 == 0 {
				p.verify()
			}
			if round%3 == 0 {
				p.checkTogether(req)
			}
			result, _, err := p.build(req)
			if err != nil || result.Status.Succeeded() != (round%3 != 1) {
				t.Errorf("%s: %+v, %v", name, result, err)
			}
		}
		p.verify()
		for _, name := range p.stray() {
			if !strings.HasSuffix(name, ".lock") {
				t.Errorf("left: %s", name)
			}
		}
	})
}

// checkTogether checks that all outputs of a derivation are valid, or none.
func (p *place) checkTogether(req *Request) {
	p.t.Helper()
	count := 0
	for _, o := range req.Derivation.Outputs.All() {
		valid, err := p.store.IsValidPath(p.t.Context(), o.Path())
		if err != nil {
			p.t.Error(err)
		}
		if valid {
			count++
		}
	}
	if count != 0 && count != req.Derivation.Outputs.Len() {
		p.t.Errorf("%d of the outputs of %s are valid", count, req.Derivation.Name)
	}
}

// The log has every line that was read before the process was killed: a killed build can be examined, and log --follow
// sees lines when they are written.
func TestLogOfKilled(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.killed = true
		sleep := sleeper()
		req := p.script("logged", "echo one; echo two; echo three; sleep "+sleep, nil)
		cmd := p.startVictim(req)
		log := func() string {
			r, err := p.store.BuildLog(t.Context(), req.Path)
			if err != nil {
				return ""
			}
			defer r.Close()
			text, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			return string(text)
		}
		const want = "one\ntwo\nthree\n"
		for deadline := time.Now().Add(hang); log() != want && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		p.checkGone(sleep)
		if got := log(); got != want {
			t.Errorf("the log is %q", got)
		}
	})
}
