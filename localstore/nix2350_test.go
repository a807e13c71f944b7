package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/nixhash"
	"pix/storepath"
)

// A nix2350 behaves like a process of Nix 2.35.0 with temporary roots: see addTempRoot in its gc.cc. The name of its
// file does not begin with a digit. The process locks the file exclusively, and writes a root after the collector has
// answered.
type nix2350 struct {
	l            layout
	file, gcLock *os.File
	socket       net.Conn
}

var nix2350s atomic.Uint64

func startNix2350(l layout) (*nix2350, error) {
	n := &nix2350{l: l}
	var err error
	for { // until it has a file that no collector has removed
		name := filepath.Join(l.tempRoots(), fmt.Sprintf("temproots-%d-%d", os.Getpid(), nix2350s.Add(1)))
		if n.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, err
		}
		if err := flock.Lock(context.Background(), n.file, flock.Exclusive, nil); err != nil {
			return nil, err
		}
		info, err := n.file.Stat()
		if err != nil {
			return nil, err
		}
		if info.Size() == 0 {
			break
		}
		n.file.Close()
	}
	n.gcLock, err = os.OpenFile(filepath.Join(l.stateDir, "gc.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	return n, err
}

func (n *nix2350) addTempRoot(path storepath.Path) error {
	for {
		free, err := flock.Try(n.gcLock, flock.Shared)
		if err != nil {
			return err
		}
		if free {
			defer flock.Unlock(n.gcLock)
			break
		}
		answered, err := n.send(path)
		if err != nil {
			return err
		}
		if answered {
			break
		}
	}
	_, err := n.file.WriteString(string(path) + "\x00")
	return err
}

func (n *nix2350) send(path storepath.Path) (answered bool, err error) {
	if n.socket == nil {
		n.socket, err = net.Dial("unix", filepath.Join(n.l.stateDir, "gc-socket/socket"))
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
			time.Sleep(time.Millisecond) // it waits longer
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	answer := make([]byte, 1)
	if _, err = n.socket.Write([]byte(string(path) + "\n")); err == nil {
		_, err = io.ReadFull(n.socket, answer)
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) {
		n.socket.Close()
		n.socket = nil
		return false, nil
	}
	if err == nil && answer[0] != '1' {
		err = fmt.Errorf("the collector answers %q", answer)
	}
	return true, err
}

// end ends the process normally, or as if it were killed.
func (n *nix2350) end(killed bool) {
	if !killed {
		os.Remove(n.file.Name())
	}
	n.file.Close()
	n.gcLock.Close()
	if n.socket != nil {
		n.socket.Close()
	}
}

// round adds two objects as such a process does, and checks that they exist until it ends.
func (n *nix2350) round(t *testing.T, s *Store, name string) error {
	rootless := &Store{shared: s.shared}
	a := &adder{s: rootless}
	add := func(name, text string, references ...storepath.Path) (storepath.Path, error) {
		info, err := rootless.fileInfo(contentSpec{name: name, method: storepath.Text, algo: nixhash.SHA256, references: references}, []byte(text))
		if err != nil {
			return "", err
		}
		if err := n.addTempRoot(info.Path); err != nil {
			return "", err
		}
		return rootless.AddTextToStore(t.Context(), name, text, references)
	}
	first, err := add("first", fmt.Sprint(rand.IntN(5)))
	if err != nil {
		return fmt.Errorf("adding the first: %w", err)
	}
	second, err := add("second", name, first)
	if err != nil {
		return fmt.Errorf("adding the second: %w", err)
	}
	return a.check(t.Context(), first, second)
}

// While Nix 2.35.0 and pix add objects, pix collects, and no path with a root is lost.
func TestCollectWhileNix2350Adds(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), NoSync: true})
	collector := open(t, Options{Root: s.opts.Root, NoSync: true})
	deadline := time.Now().Add(sharedTime() / 2)
	var all sync.WaitGroup
	var rounds [3]int
	for i := range 2 {
		all.Go(func() {
			for ; time.Now().Before(deadline); rounds[i]++ {
				n, err := startNix2350(s.layout)
				if err == nil {
					err = n.round(t, s, fmt.Sprint(i, "-", rounds[i]))
					n.end(rand.IntN(2) == 0)
				}
				if err != nil {
					t.Errorf("round %d: %v", rounds[i], err)
					return
				}
			}
		})
	}
	ours := &adder{s: s, name: "ours"}
	all.Go(func() {
		for ; time.Now().Before(deadline); rounds[2]++ {
			if err := ours.round(t); err != nil {
				t.Error(err)
				return
			}
		}
	})
	collections, deleted := 0, 0
	for ; time.Now().Before(deadline) && !t.Failed(); collections++ {
		result, err := collector.CollectGarbage(t.Context(), deleteAll)
		if err != nil {
			t.Fatal(err)
		}
		deleted += len(result.Paths)
	}
	all.Wait()
	t.Logf("%v rounds, %d collections deleted %d", rounds, collections, deleted)
	if rounds[0] == 0 || collections == 0 {
		t.Error("no round was completed")
	}
	if err := ours.check(t.Context(), ours.kept...); err != nil {
		t.Error(err)
	}
	checkSound(t, s)
}
