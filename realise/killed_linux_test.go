package realise_test

import (
	"bytes"
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

	"pix"
	"pix/derivation"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/nixconf"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// victimVariable makes the test binary a process that builds, and is killed.
const victimVariable = "PIX_TEST_REALISE"

// A victim says what such a process builds.
type victim struct {
	Way, Root, Program string
	Machine            string // the root of another store that builds, or ""
	Path               string // the derived path
}

func (v *victim) open(ctx context.Context) (store.Store, error) {
	opts := buildsIn(v.Way, v.Program)
	if v.Machine != "" {
		opts.Builds.Remote = machineIn(v.Machine)
	}
	return pix.Open(ctx, v.Root, opts)
}

// machineIn returns the settings for a machine whose store has a root.
func machineIn(root string) *realise.Remote {
	return &realise.Remote{Machines: []nixconf.Machine{
		{Store: root, Systems: []string{machine}, MaxJobs: 1, Speed: 1, Features: []string{"ca-derivations"}},
	}}
}

// newVictim returns a process that builds a kind of derivations in the store of a recursion.
func newVictim(t *testing.T, r *recursion, kind string) *victim {
	v := &victim{Way: victimWay(), Root: r.root, Program: testProgram(t)}
	if kind == "elsewhere" {
		v.Machine = t.TempDir()
		testenv.RemoveStore(t, v.Machine)
	}
	return v
}

// victimWay is the way in which victims build.
func victimWay() string {
	if os.Geteuid() != 0 {
		return "sandboxed"
	}
	return "build user"
}

// build builds the path, and returns its output.
func (v *victim) build(ctx context.Context) (storepath.Path, error) {
	s, err := v.open(ctx)
	if err != nil {
		return "", err
	}
	defer s.Close()
	path, err := derivation.ParseDerivedPath(s.Dir(), v.Path)
	if err != nil {
		return "", err
	}
	results, err := store.BuildPathsWithResults(ctx, s, []derivation.DerivedPath{path}, store.BuildNormal)
	if err != nil || len(results) != 1 || !results[0].Status.Succeeded() {
		return "", fmt.Errorf("%+v, %w", results, err)
	}
	return results[0].Outputs["out"].OutPath, nil
}

// runVictim builds, and ends the process.
func runVictim(text string) {
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	fmt.Println(v.build(context.Background()))
	os.Exit(0)
}

// kill starts a process that builds, and kills it after some time.
func (v *victim) kill(t *testing.T, after time.Duration) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimVariable+"="+string(text))
	if testing.Verbose() {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}

// floatingOutput changes the output of a derivation, which does not use the store.
func floatingOutput(m storepath.Method, output func(storepath.Method, nixhash.Algorithm) derivation.Output) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) {
		d.Outputs.Set("out", output(m, nixhash.SHA256))
		d.Env.Set("out", string(storepath.OwnPlaceholder("out")))
		d.Env.Set("requiredSystemFeatures", "")
	}
}

// kinds return derived paths of each kind. mark is in the environment of all builders.
var kinds = map[string]func(r *recursion, mark string) derivation.Built{
	"floating": func(r *recursion, mark string) derivation.Built {
		return r.derivation("inner", marked(mark, floatingOutput(storepath.NAR, derivation.FloatingOutput)))
	},
	"impure": func(r *recursion, mark string) derivation.Built {
		return r.derivation("inner", marked(mark, floatingOutput(storepath.NAR, derivation.ImpureOutput)))
	},
	"recursive": func(r *recursion, mark string) derivation.Built {
		return r.derivation("use", marked(mark, nil))
	},
	"elsewhere": func(r *recursion, mark string) derivation.Built {
		return r.derivation("inner", marked(mark, floatingOutput(storepath.NAR, derivation.FloatingOutput)))
	},
	"dynamic": func(r *recursion, mark string) derivation.Built {
		yielded := r.derivation("inner", marked(mark, func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "") }))
		text, err := store.Derivations(r.store).LoadDerivation(r.t.Context(), yielded.Base())
		if err != nil {
			r.t.Fatal(err)
		}
		producer := r.derivation("inner", func(d *derivation.Derivation) {
			marked(mark, floatingOutput(storepath.Text, derivation.FloatingOutput))(d)
			d.Name = "inner.drv"
			d.Env.Set("name", d.Name)
			d.Env.Set("text", text)
		})
		return outOf(producer.Base(), 1)
	},
}

func marked(mark string, change func(*derivation.Derivation)) func(*derivation.Derivation) {
	return func(d *derivation.Derivation) {
		d.Env.Set("PATH", mark) // builders pass it on
		d.Env.Set("text", mark)
		if change != nil {
			change(d)
		}
	}
}

// A process can be killed at any point of a build of each kind: no process and no mount is left, everything valid is whole,
// and the same build succeeds.
func TestKilled(t *testing.T) {
	rounds := 2
	if os.Getenv("PIX_LONG") != "" {
		rounds = 40
	}
	for kind, pathOf := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRecursion(t, victimWay())
			v := newVictim(t, r, kind)
			took := 500 * time.Millisecond
			for round := range rounds {
				mark := fmt.Sprintf("/%s-%d-%d", kind, os.Getpid(), round)
				path := pathOf(r, mark)
				v.Path = path.String()
				v.kill(t, time.Duration(rand.Int64N(int64(took))))
				checkGone(t, mark, v)
				checkWhole(t, v)
				begin := time.Now()
				out, err := v.build(t.Context())
				if err != nil {
					t.Fatalf("the next build of %s: %v", path, err)
				}
				took = time.Since(begin) + 100*time.Millisecond
				checkValid(t, v, out)
			}
			checkWhole(t, v)
		})
	}
}

// checkGone checks that no process of a killed build runs after a moment, and nothing is mounted in its stores.
func checkGone(t *testing.T, mark string, v *victim) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte("PATH="+mark)) {
				found = file
			}
		}
		if found == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("a builder still runs: %s", found)
			break
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range v.roots() {
		if strings.Contains(string(mounts), root) {
			t.Errorf("there is a mount in %s", root)
		}
	}
}

// checkValid checks that a path is valid in the stores of a build.
func checkValid(t *testing.T, v *victim, path storepath.Path) {
	t.Helper()
	for _, root := range v.roots() {
		s, err := localstore.Open(t.Context(), &localstore.Options{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		if valid, err := s.IsValidPath(t.Context(), path); err != nil || !valid {
			t.Errorf("%s is not valid in %s: %v", path, root, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// roots returns the roots of the stores in which a victim builds.
func (v *victim) roots() []string {
	if v.Machine == "" {
		return []string{v.Root}
	}
	return []string{v.Root, v.Machine}
}

// checkWhole checks the contents of all valid paths.
func checkWhole(t *testing.T, v *victim) {
	t.Helper()
	for _, root := range v.roots() {
		s, err := localstore.Open(t.Context(), &localstore.Options{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		if remain, err := s.VerifyStore(t.Context(), true, false); err != nil || remain {
			t.Errorf("the store is damaged: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
