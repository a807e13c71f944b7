package main

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"pix/internal/realnix"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A server is a running daemon.
type server struct {
	name, socket string
	processes    func() []int
}

// daemonConfig makes both daemons sync their databases, as they do by default.
var daemonConfig = map[string]string{"fsync-metadata": "true"}

// servers returns running daemons with stores of their own.
func (l *lab) servers() []server {
	if l.nix == nil {
		t := l.shared
		suite := realnix.Get(t, "sid")
		nix := realnix.Start(t, suite, &realnix.Options{Config: daemonConfig})
		l.pix = realnix.Start(t, suite, &realnix.Options{Config: daemonConfig, Program: l.bin + "/pix", Args: []string{"daemon"}, Env: []string{"NIX_STATE_DIR=/nix/var/nix"}})
		l.nix = nix
	}
	all := []server{{"pix", l.pix.Socket, l.pix.Processes}, {"Nix", l.nix.Socket, l.nix.Processes}}
	if name, socket, ok := strings.Cut(l.daemon, "="); ok {
		all = append(all, server{name, socket, func() []int { return nil }})
	}
	return all
}

// daemonWork is the work of one client or more with each daemon. prepare connects the clients, and returns the work of a round.
func (l *lab) daemonWork(t *scope, text string, clients int, prepare func(clients []*rawClient) func(round int) error) work {
	w := work{text: text}
	for _, s := range l.servers() {
		var connected []*rawClient
		for range clients {
			c, err := dialRaw(s.socket)
			if err != nil {
				t.Fatalf("%s: %w", s.name, err)
			}
			t.Cleanup(func() { c.nc.Close() })
			connected = append(connected, c)
		}
		do := prepare(connected)
		w.contenders = append(w.contenders, contender{s.name, func(round int) (measure, error) {
			return measureProcesses(s.processes, func() error { return do(round) })
		}})
	}
	return w
}

// addTexts adds n texts with references, and returns their paths.
func addTexts(t *scope, c *rawClient, n int) (paths []storepath.Path) {
	for i := range n {
		path, err := c.addText(fmt.Sprint("p", i), fmt.Sprint("text ", i), paths[max(0, i-5):]...)
		t.check(err)
		paths = append(paths, path)
	}
	return paths
}

// pathInfosRow returns a row in which clients query the same thousand paths at once.
func pathInfosRow(clients int) func(l *lab, t *scope) work {
	return func(l *lab, t *scope) work {
		const passes = 5
		text := fmt.Sprintf("%s queries each", count(1000*passes))
		return l.daemonWork(t, text, clients, func(clients []*rawClient) func(int) error {
			paths := addTexts(t, clients[0], 1000)
			return func(int) error {
				var g errgroup.Group
				for _, c := range clients {
					g.Go(func() error {
						for range passes {
							if err := c.queryAll(paths); err != nil {
								return err
							}
						}
						return nil
					})
				}
				return g.Wait()
			}
		})
	}
}

func smallTextsRow(l *lab, t *scope) work {
	const n = 1000
	return l.daemonWork(t, count(n)+" texts", 1, func(clients []*rawClient) func(int) error {
		return func(round int) error {
			for i := range n {
				if _, err := clients[0].addText(fmt.Sprint("small-", round, "-", i), fmt.Sprint("small ", round, i)); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func connectionsRow(l *lab, t *scope) work {
	const n = 100
	w := work{text: count(n) + " connections"}
	for _, s := range l.servers() {
		w.contenders = append(w.contenders, contender{s.name, func(int) (measure, error) {
			return measureProcesses(s.processes, func() error {
				for range n {
					c, err := dialRaw(s.socket)
					if err != nil {
						return err
					}
					c.nc.Close()
				}
				return nil
			})
		}})
	}
	return w
}

// A bigArchive is the archive of a large file.
type bigArchive struct {
	hash   nixhash.Hash
	size   uint64
	frames []byte
}

// newArchive returns the archive of a file with this number of megabytes.
func newArchive(t *scope, megabytes int) *bigArchive {
	line := bytes.Repeat([]byte("all work and no play"), 50_000) // 1 MB
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	t.check(w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(megabytes * len(line))}))
	for range megabytes {
		_, err := w.Write(line)
		t.check(err)
	}
	t.check(w.Close())
	return &bigArchive{nixhash.Sum(nixhash.SHA256, b.Bytes()), uint64(b.Len()), appendFrames(nil, b.Bytes())}
}

// info returns the info of an object with this archive.
func (a *bigArchive) info(round int) (*store.PathInfo, error) {
	name := fmt.Sprint("big-", round)
	path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	return &store.PathInfo{Path: path, NARHash: a.hash, NARSize: a.size}, err
}

// add adds an object with the archive.
func (a *bigArchive) add(c *rawClient, round int) error {
	info, err := a.info(round)
	if err != nil {
		return err
	}
	return c.addNAR(info, a.frames)
}

// archiveSize is the size of the large archive, in megabytes.
const archiveSize = 256

func archiveInRow(l *lab, t *scope) work {
	a := newArchive(t, archiveSize)
	return l.daemonWork(t, fmt.Sprint(archiveSize, " MB"), 1, func(clients []*rawClient) func(int) error {
		return func(round int) error { return a.add(clients[0], round) }
	})
}

func archiveOutRow(l *lab, t *scope) work {
	a := newArchive(t, archiveSize)
	info, err := a.info(0)
	t.check(err)
	return l.daemonWork(t, fmt.Sprint(archiveSize, " MB"), 1, func(clients []*rawClient) func(int) error {
		t.check(a.add(clients[0], 0)) // no work if it exists
		return func(int) error { return clients[0].readNAR(info.Path, a.size) }
	})
}
