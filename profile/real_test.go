package profile_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/profile"
	"pix/store"
	"pix/storepath"
)

// A nixWorld has profiles in the state directory of a real Nix. Inside of the namespaces of the daemon the directory has the
// name insideDir.
type nixWorld struct {
	t      *testing.T
	daemon *realnix.Daemon
	store  insideStore
	paths  []storepath.Path
	dir    string
}

const insideDir = "/nix/var/nix/profiles/test"

func newNixWorld(t *testing.T, s realnix.Suite) *nixWorld {
	d := realnix.Start(t, s, nil)
	pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	w := &nixWorld{t: t, daemon: d, store: insideStore{pool, d.Dir}, dir: d.HostPath(insideDir)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		p, err := store.AddText(t.Context(), pool, fmt.Sprintf("package-%d", i), "contents", nil)
		if err != nil {
			t.Fatal(err)
		}
		w.paths = append(w.paths, p)
	}
	return w
}

// An insideStore registers roots by their names inside.
type insideStore struct {
	*daemon.Pool
	nix string // the directory that is /nix inside
}

func (s insideStore) AddIndirectRoot(ctx context.Context, link string) error {
	return s.Pool.AddIndirectRoot(ctx, "/nix"+strings.TrimPrefix(link, s.nix))
}

func (w *nixWorld) profile(name string) *profile.Profile {
	w.t.Helper()
	p, err := profile.New(storepath.DefaultDir, filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// nixEnv runs nix-env on a profile.
func (w *nixWorld) nixEnv(name string, args ...string) (string, error) {
	out, stderr, err := w.daemon.Run(slices.Concat([]string{"nix-env", "-p", insideDir + "/" + name}, args)...)
	if err != nil {
		err = fmt.Errorf("nix-env %q: %w\n%s", args, err, stderr)
	}
	return out, err
}

// An operation changes a profile with nix-env and with pix.
type operation struct {
	text string
	nix  []string
	pix  func(p *profile.Profile) error
}

// operations returns a random sequence.
func (w *nixWorld) operations(random *rand.Rand, n int) (all []operation) {
	ctx := w.t.Context()
	remove := func(words ...string) operation {
		return operation{strings.Join(words, " "), append([]string{"--delete-generations"}, words...), func(p *profile.Profile) error {
			sel, err := profile.ParseSelection(words, time.Now())
			if err == nil {
				_, err = p.Delete(ctx, sel)
			}
			return err
		}}
	}
	for i := range n {
		path := w.paths[random.IntN(len(w.paths))]
		number := 1 + random.Uint64N(6)
		word := strconv.FormatUint(number, 10)
		set := operation{"set " + string(path), []string{"--set", string(path)}, func(p *profile.Profile) error {
			_, err := p.Set(ctx, w.store, path)
			return err
		}}
		switch choice := random.IntN(12); {
		case i < 2 || choice < 5:
			all = append(all, set)
		case choice < 7:
			all = append(all, operation{"rollback", []string{"--rollback"}, func(p *profile.Profile) error {
				_, err := p.Rollback(ctx)
				return err
			}})
		case choice < 9:
			all = append(all, operation{"switch " + word, []string{"--switch-generation", word}, func(p *profile.Profile) error {
				_, err := p.Switch(ctx, number)
				return err
			}})
		case choice < 10:
			all = append(all, remove(word, strconv.FormatUint(1+random.Uint64N(9), 10)))
		default:
			all = append(all, remove([]string{"+1", "+2", "+3", "30d", "old"}[random.IntN(5)]))
		}
	}
	return all
}

// files returns the symlinks of a profile and their targets, and the indirect roots. Nix 2.3 makes none in profiles, which are
// roots without them.
func (w *nixWorld) files(name string) string {
	w.t.Helper()
	var lines []string
	dirs := []string{w.dir}
	if !strings.HasPrefix(w.daemon.Version, "2.3.") {
		dirs = append(dirs, w.daemon.HostPath("/nix/var/nix/gcroots/auto"))
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			file := e.Name()
			target, err := os.Readlink(filepath.Join(dir, file))
			if err != nil {
				w.t.Fatalf("%s in %s: %v", file, dir, err)
			}
			if dir != w.dir {
				file = "root"
			}
			if line := file + " -> " + target; strings.Contains(line, name) {
				lines = append(lines, strings.ReplaceAll(line, name, "NAME"))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// makeOld makes the generations of a profile as old as their numbers say, so that the ages agree.
func (w *nixWorld) makeOld(p *profile.Profile) {
	w.t.Helper()
	all, err := p.Generations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range all {
		ts := unix.NsecToTimespec(time.Now().Add(-time.Duration(1000-15*g.Number) * 24 * time.Hour).UnixNano())
		if g.Number > 64 {
			continue
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, g.Link, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Random operations by nix-env, by pix, and by both in turn leave the same files.
func TestRealOperations(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		w := newNixWorld(t, s)
		n := 15
		if os.Getenv("PIX_LONG") != "" {
			n = 150
		}
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		names := []string{"by-nix", "by-pix", "by-both"}
		for i, op := range w.operations(random, n) {
			_, nixErr := w.nixEnv(names[0], op.nix...)
			pixErr := op.pix(w.profile(names[1]))
			var bothErr error
			if random.IntN(2) == 0 {
				_, bothErr = w.nixEnv(names[2], op.nix...)
			} else {
				bothErr = op.pix(w.profile(names[2]))
			}
			if (nixErr == nil) != (pixErr == nil) || (nixErr == nil) != (bothErr == nil) {
				t.Fatalf("seed %d, operation %d, %s: Nix: %v; pix: %v; both: %v", seed, i, op.text, nixErr, pixErr, bothErr)
			}
			want := w.files(names[0])
			for _, name := range names {
				if got := w.files(name); got != want {
					t.Fatalf("seed %d, operation %d, %s:\n%s:\n%s\nNix:\n%s", seed, i, op.text, name, got, want)
				}
				w.makeOld(w.profile(name))
			}
		}
		w.compareLists(names[1])
	})
}

// compareLists compares the list of generations, and checks that each generation is a root.
func (w *nixWorld) compareLists(name string) {
	w.t.Helper()
	out, err := w.nixEnv(name, "--list-generations")
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := w.profile(name).Generations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	roots := strings.ReplaceAll(w.daemon.MustRun(w.t, "nix-store", "--gc", "--print-roots"), `"`, "") // 2.34 has quotes
	var want strings.Builder
	for _, g := range all {
		current := ""
		if g.Current {
			current = "(current)"
		}
		fmt.Fprintf(&want, "%4d   %s   %s\n", g.Number, g.Created.UTC().Format("2006-01-02 15:04:05"), current)
		if !strings.Contains(roots, insideDir+"/"+filepath.Base(g.Link)+" -> "+string(g.Path)) {
			w.t.Errorf("generation %d is no root:\n%s", g.Number, roots)
		}
	}
	if out != want.String() {
		w.t.Errorf("Nix %s lists\n%swant\n%s", w.daemon.Version, out, want.String())
	}
}
