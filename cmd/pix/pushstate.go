package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pix/internal/flock"
	"pix/storepath"
)

// A pushState is the record of the paths and realisations that were pushed to a cache: a file with a line for each. The line
// of a realisation has the ID and the output path, separated by a space. The file is locked while a push runs. New lines are
// appended. A process that is killed leaves at most one incomplete line, which the next one removes; a path without a line is
// pushed again, which finds it in the cache.
type pushState struct {
	name         string
	head         string // the first line
	lock         *os.File
	isNew        bool // there is no file
	pushed       map[storepath.Path]bool
	realisations map[string]bool // the lines of the realisations
	listed       time.Time       // when the paths of the store were listed
}

// openPushState opens a state file, which belongs to one store and one cache.
func openPushState(name string, dir storepath.Dir, about string) (*pushState, error) {
	lock, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if ok, err := flock.Try(lock, flock.Exclusive); err != nil || !ok {
		lock.Close()
		if err == nil {
			err = fmt.Errorf("another push uses the state file '%s'", name)
		}
		return nil, err
	}
	s := &pushState{name: name, head: "pix push " + strings.Join(strings.Fields(about), " "), lock: lock}
	s.forget()
	if err := s.load(dir); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// close unlocks the file.
func (s *pushState) close() error { return s.lock.Close() }

// load reads the file.
func (s *pushState) load(dir storepath.Dir) error {
	text, err := os.ReadFile(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		s.isNew = true
		return nil
	}
	if err != nil {
		return err
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(head) != s.head {
		return fmt.Errorf("the state file '%s' is not the one of a push %s: name another file with --state", s.name, strings.TrimPrefix(s.head, "pix push "))
	}
	complete := bytes.LastIndexByte(rest, '\n') + 1
	for line := range bytes.Lines(rest[:complete]) {
		if bytes.Contains(line, []byte(" ")) {
			s.realisations[string(bytes.TrimSpace(line))] = true
			continue
		}
		path, err := dir.ParseBase(string(bytes.TrimSpace(line)))
		if err != nil {
			return fmt.Errorf("the state file '%s' is damaged: %w; delete it, and push with --all", s.name, err)
		}
		s.pushed[path] = true
	}
	if complete < len(rest) {
		return s.write()
	}
	return nil
}

// listing returns how long it took to list the paths of the store after start.
func (s *pushState) listing(start time.Time) time.Duration { return max(s.listed.Sub(start), 0) }

// forget makes all paths and realisations new. The file does not change.
func (s *pushState) forget() {
	s.pushed, s.realisations = make(map[storepath.Path]bool), make(map[string]bool)
}

// update removes the paths that are not valid any more, because they are new if they become valid again, and the realisations
// that are not known any more. It returns the valid paths that were not pushed.
func (s *pushState) update(valid []storepath.Path, realisations []string) (fresh []storepath.Path, err error) {
	old := pushState{pushed: s.pushed, realisations: s.realisations}
	s.forget()
	for _, path := range valid {
		if old.pushed[path] {
			s.pushed[path] = true
		} else {
			fresh = append(fresh, path)
		}
	}
	for _, line := range realisations {
		if old.realisations[line] {
			s.realisations[line] = true
		}
	}
	if len(s.pushed) == len(old.pushed) && len(s.realisations) == len(old.realisations) && !s.isNew {
		return fresh, nil
	}
	return fresh, s.write()
}

// replace records exactly these paths and realisations.
func (s *pushState) replace(paths []storepath.Path, realisations []string) error {
	s.forget()
	s.record(paths, realisations)
	return s.write()
}

// record adds paths and realisations, and returns the lines of the ones that are new.
func (s *pushState) record(paths []storepath.Path, realisations []string) (lines string) {
	var b strings.Builder
	for _, path := range paths {
		if !s.pushed[path] {
			s.pushed[path] = true
			b.WriteString(path.Base() + "\n")
		}
	}
	for _, line := range realisations {
		if !s.realisations[line] {
			s.realisations[line] = true
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// write replaces the file.
func (s *pushState) write() error {
	lines := slices.AppendSeq(make([]string, 0, len(s.pushed)+len(s.realisations)), maps.Keys(s.realisations))
	for path := range s.pushed {
		lines = append(lines, path.Base())
	}
	slices.Sort(lines)
	f, err := os.CreateTemp(filepath.Dir(s.name), ".push-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, s.head)
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
	err = w.Flush()
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), s.name)
	}
	s.isNew = s.isNew && err != nil
	return err
}

// add records more paths and realisations. If the disk was full at an earlier call, the file ends in a part of a line, which
// the next line would continue. Then add replaces the file.
func (s *pushState) add(paths []storepath.Path, realisations []string) error {
	lines := s.record(paths, realisations)
	if lines == "" {
		return nil
	}
	f, err := os.OpenFile(s.name, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s.write()
	}
	if err != nil {
		return err
	}
	if ok, err := endsInNewline(f); err != nil || !ok {
		f.Close()
		if err == nil {
			err = s.write()
		}
		return err
	}
	_, err = f.WriteString(lines)
	return errors.Join(err, f.Close())
}

// endsInNewline reports whether the last byte of a file is a line feed.
func endsInNewline(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return last[0] == '\n', err
}
