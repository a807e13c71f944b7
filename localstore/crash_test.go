package localstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/activity"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// crashChild is set for the process that is to be killed: the root of the store and a word that
// makes the names of its objects its own.
const crashChild = "LOCALSTORE_TEST_CRASH"

// A process that adds is killed at any moment. What it has acknowledged is valid afterwards, and
// what is valid is whole.
func TestKilledWhileAdding(t *testing.T) {
	if args := os.Getenv(crashChild); args != "" {
		root, word, _ := strings.Cut(args, "\n")
		addUntilKilled(t, root, word)
		return
	}
	times := 30
	if os.Getenv("PIX_LONG") != "" {
		times = 300
	}
	root := t.TempDir()
	all := 0
	for i := range times {
		place := root
		if i%2 == 1 { // half of them are killed while they make a store, or soon after
			place = filepath.Join(t.TempDir(), "new")
		}
		testenv.RemoveStore(t, place)
		acknowledged := killChild(t, place, fmt.Sprint("n", i), time.Duration(rand.IntN(400))*time.Millisecond)
		s, err := Open(t.Context(), &Options{Root: place})
		if err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
		for _, p := range acknowledged {
			readNAR(t, s, p)
		}
		all += len(acknowledged)
		if place != root || i >= times-2 {
			mustBeSound(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d objects were acknowledged", all)
	if all == 0 {
		t.Error("nobody has added anything")
	}
}

// mustBeSound checks that all that is valid is whole, and that the database is.
func mustBeSound(t *testing.T, s *Store) {
	t.Helper()
	paths, err := s.QueryAllValidPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		readNAR(t, s, p)
	}
	if err := checkDatabase(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// checkDatabase returns what SQLite finds wrong with the database.
func checkDatabase(ctx context.Context, s *Store) error {
	return s.read(ctx, func(c *conn) error {
		return errors.Join(
			c.query("pragma integrity_check", func(row *sqlite.Stmt) error {
				if text := row.ColumnText(0); text != "ok" {
					return errors.New(text)
				}
				return nil
			}),
			c.query("pragma foreign_key_check", func(row *sqlite.Stmt) error {
				return fmt.Errorf("a row of %s refers to nothing", row.ColumnText(0))
			}))
	})
}

// killChild starts a process that adds to the store, and kills it after a while. It returns what
// that process said it had added.
func killChild(t *testing.T, root, word string, after time.Duration) (acknowledged []storepath.Path) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileAdding$")
	cmd.Env = append(os.Environ(), crashChild+"="+root+"\n"+word)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "begin\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	time.AfterFunc(after, func() { cmd.Process.Kill() })
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the last line may be half a line
			break
		}
		p, err := storepath.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Errorf("the child says %q", line)
			break
		}
		acknowledged = append(acknowledged, p)
	}
	cmd.Wait() // it was killed
	return acknowledged
}

// addUntilKilled adds objects in every way and prints the paths of added objects.
func addUntilKilled(t *testing.T, root, word string) {
	var mu sync.Mutex
	report := func(paths ...storepath.Path) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range paths {
			fmt.Println(p)
		}
	}
	fmt.Println("begin")
	s, err := Open(t.Context(), &Options{Root: root, AutoOptimise: rand.IntN(2) == 0})
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	for worker, add := range []func(ctx context.Context, s *Store, name string) ([]storepath.Path, error){
		crashText, crashTree, crashLarge, crashMany, crashReplace, crashImport, crashTidy,
	} {
		workers.Go(func() {
			for i := 0; ; i++ {
				paths, err := add(t.Context(), s, fmt.Sprint(word, "-", worker, "-", i))
				if err != nil {
					t.Error(err)
					fmt.Println("error:", err)
					return
				}
				report(paths...)
			}
		})
	}
	workers.Wait()
}

func crashText(ctx context.Context, s *Store, name string) ([]storepath.Path, error) {
	a, err := s.AddTextToStore(ctx, name, name, nil)
	if err != nil {
		return nil, err
	}
	b, err := s.AddTextToStore(ctx, name+"-b", name, []storepath.Path{a})
	return []storepath.Path{a, b}, err
}

func crashTree(ctx context.Context, s *Store, name string) ([]storepath.Path, error) {
	info, err := s.AddToStore(ctx, name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil)
	if err != nil {
		return nil, err
	}
	return []storepath.Path{info.Path}, nil
}

func crashLarge(ctx context.Context, s *Store, name string) ([]storepath.Path, error) {
	contents := io.MultiReader(strings.NewReader(name), strings.NewReader(strings.Repeat("x", smallContents)))
	info, err := s.AddToStore(ctx, name, storepath.Flat, nixhash.SHA256, nil, contents, nil)
	if err != nil {
		return nil, err
	}
	return []storepath.Path{info.Path}, nil
}

// crashReplace replaces an object that is valid, which has to be one or the other at any time.
func crashReplace(ctx context.Context, s *Store, _ string) ([]storepath.Path, error) {
	opts := &store.AddOptions{NoSignatures: true, Repair: true}
	var paths []storepath.Path
	for i, archive := range [][]byte{treeNAR(), fileNAR("replaced")} {
		info := &store.PathInfo{NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
		var err error
		if info.Path, err = s.Dir().MakePath("test", info.NARHash, fmt.Sprint("replaced-", i)); err != nil {
			return nil, err
		}
		if err := s.AddToStoreNAR(ctx, info, bytes.NewReader(archive), opts); err != nil {
			return nil, err
		}
		if err := s.AddMultipleToStore(ctx, 1, only(info, archive), opts); err != nil {
			return nil, err
		}
		paths = append(paths, info.Path)
	}
	return paths, nil
}

// crashImport adds what another store has exported.
func crashImport(ctx context.Context, s *Store, name string) ([]storepath.Path, error) {
	from := memstore.New(nil)
	a, err := from.AddTextToStore(ctx, name, name, nil)
	if err != nil {
		return nil, err
	}
	b, err := from.AddTextToStore(ctx, name+"-b", strings.Repeat(name, 1000), []storepath.Path{a})
	if err != nil {
		return nil, err
	}
	var export bytes.Buffer
	if err := store.ExportPaths(ctx, &export, from, []storepath.Path{a, b}); err != nil {
		return nil, err
	}
	return store.ImportPaths(ctx, s, &export, &store.AddOptions{NoSignatures: true})
}

// crashTidy collects what those before have left, makes equal files one, and verifies.
func crashTidy(ctx context.Context, s *Store, _ string) ([]storepath.Path, error) {
	if _, err := s.CollectGarbage(ctx, deleteAll); err != nil {
		return nil, err
	}
	if err := s.OptimiseStore(ctx); err != nil {
		return nil, err
	}
	var lines []string
	remain, err := s.VerifyStore(activity.WithHandler(ctx, collectLines(&lines)), true, true)
	if err == nil && remain {
		err = fmt.Errorf("something is wrong with the store: %q", lines)
	}
	return nil, err
}

func crashMany(ctx context.Context, s *Store, name string) (paths []storepath.Path, err error) {
	objects := func(yield func(store.Import, error) bool) {
		for i := range 50 {
			archive := fileNAR(fmt.Sprint(name, i))
			info := &store.PathInfo{NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: paths[max(0, len(paths)-1):]}
			if info.Path, err = s.Dir().MakePath("test", info.NARHash, fmt.Sprint(name, "-", i)); err != nil {
				yield(store.Import{}, err)
				return
			}
			paths = append(paths[:len(paths):len(paths)], info.Path)
			if !yield(store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil) {
				return
			}
		}
	}
	err = s.AddMultipleToStore(ctx, 50, objects, &store.AddOptions{NoSignatures: true})
	return paths, err
}
