package derivation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pix/internal/parallel"
	"pix/storepath"
)

// A text and its parsed form are kept in memory only until the derivation is checked, which is possible after its
// inputs were checked. So the verifier reads depth first: after a derivation, it reads its inputs, and checks the
// derivation when the last of them was checked. Few derivations wait at a time, unless there is a cycle. A closure of 9,579
// derivations takes 46 MB instead of 112 MB, and a tenth less processor time than if all files are read first.

// verifyAll reads and checks the files and their inputs.
func (v *verifier) verifyAll(ctx context.Context, files []string) error {
	v.setCommonDir(ctx, files)
	for _, file := range files {
		v.request(v.subject(v.listed, file))
	}
	stop := context.AfterFunc(ctx, func() { v.fail(ctx.Err()) })
	defer stop()
	guard := parallel.Guard{Stop: v.fail} // Progress may panic
	var running sync.WaitGroup
	for range v.workers {
		running.Go(func() { guard.Call(func() error { v.work(); return nil }) })
	}
	running.Wait()
	guard.Repanic()
	v.mu.Lock() // the end of ctx sets the error from a goroutine of its own
	err := v.err
	v.mu.Unlock()
	if err != nil {
		return err
	}
	v.checkCycles()
	return ctx.Err()
}

// setCommonDir sets the store directory of derivations without paths: the one of the first file that has paths. If no
// file has paths, none has inputs.
func (v *verifier) setCommonDir(ctx context.Context, files []string) {
	v.common = cmp.Or(v.options.Dir, storepath.DefaultDir)
	if v.options.Dir != "" {
		return
	}
	for _, file := range files {
		if ctx.Err() != nil {
			return
		}
		if _, d, reason := v.load(file); reason == "" && d.Dir != "" {
			v.common = d.Dir
			return
		}
	}
}

func (v *verifier) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	v.wake.Broadcast()
}

// A subjectState is the progress of a subject.
type subjectState uint8

const (
	unread   subjectState = iota // in todo
	reading                      // a goroutine reads it
	waiting                      // an input is not checked
	ready                        // in todo, its inputs are checked
	checking                     // a goroutine checks it
	checked
)

// subject returns the subject of a file in one of the maps, where it adds a new one.
func (v *verifier) subject(subjects map[string]*subject, file string) *subject {
	s, ok := subjects[file]
	if !ok {
		file = strings.Clone(file) // it may be part of the text of another derivation
		s = &subject{file: file, result: VerifyResult{File: file}}
		subjects[file] = s
		v.subjects = append(v.subjects, s)
		v.total.Add(1)
	}
	return s
}

// request puts an unread subject on todo, also again, so that it is read before other files.
func (v *verifier) request(s *subject) {
	if s.state == unread {
		v.todo = append(v.todo, s)
	}
}

// work reads and checks subjects until no goroutine can reach another one.
func (v *verifier) work() {
	for s := v.next(); s != nil; s = v.next() {
		if s.state == reading {
			v.read(s)
			if !v.linkInputs(s) {
				continue
			}
		}
		v.check(s)
		v.finish(s)
	}
}

// next waits for a subject to read or to check. It returns nil if todo is empty and no goroutine is busy, which could
// add to it.
func (v *verifier) next() *subject {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.err == nil {
		if len(v.todo) == 0 {
			if v.busy == 0 {
				return nil
			}
			v.wake.Wait()
			continue
		}
		s := v.todo[len(v.todo)-1]
		v.todo = v.todo[:len(v.todo)-1]
		switch s.state {
		case unread:
			s.state = reading
		case ready:
			s.state = checking
		default: // another entry of the subject was taken before
			continue
		}
		v.busy++
		return s
	}
	return nil
}

// linkInputs sets the inputs of a subject that was read. It reports whether all of them are checked. Otherwise the
// subject waits.
func (v *verifier) linkInputs(s *subject) bool {
	if s.derivation != nil && s.usesInputs {
		s.inputs = make([]*subject, 0, s.derivation.InputDerivations.Len())
		for path := range s.derivation.InputDerivations.Keys() {
			s.inputs = append(s.inputs, v.listed[path.Base()])
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s.state = checking
	for i, input := range s.inputs {
		path, _ := s.derivation.InputDerivations.At(i)
		if !path.IsDerivation() {
			s.problem(CheckInputs, fmt.Sprintf("the input %s is not a derivation", path))
			s.inputs[i] = nil
			continue
		}
		if input == nil {
			input = v.subject(v.others, path.Base())
			s.inputs[i] = input
		}
		v.request(input)
		if input.state != checked {
			input.dependents = append(input.dependents, s)
			s.waiting++
		}
	}
	if s.waiting > 0 {
		s.state = waiting
		v.notBusy()
	}
	return s.waiting == 0
}

// finish frees the text of a checked subject, and puts the subjects on todo that waited only for it.
func (v *verifier) finish(s *subject) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.state = checked
	s.parsed, s.derivation, s.inputs = nil, nil, nil
	for _, d := range s.dependents {
		if d.waiting--; d.waiting == 0 {
			d.state = ready
			v.todo = append(v.todo, d)
		}
	}
	s.dependents = nil
	v.notBusy()
}

// notBusy records that a goroutine has finished its work on a subject. The caller must hold v.mu.
func (v *verifier) notBusy() {
	v.busy--
	if len(v.todo) > 1 || v.busy == 0 {
		v.wake.Broadcast()
	}
}

// checkCycles checks the derivations that are on a cycle or depend on one. The cycles it reports do not depend on the
// order in which files were read.
func (v *verifier) checkCycles() {
	left := slices.DeleteFunc(v.subjects, func(s *subject) bool { return s.state == checked })
	slices.SortFunc(left, func(a, b *subject) int { return strings.Compare(a.file, b.file) })
	for i, s := range left {
		s.number = int32(i)
	}
	g, all := make(graph, len(left)), make([]int32, len(left))
	for i, s := range left {
		all[i] = int32(i)
		for _, input := range s.inputs {
			if input != nil && input.state != checked {
				g[i] = append(g[i], input.number)
			}
		}
	}
	order := g.orderAll(all, func(cycle []int32) bool {
		e := &CycleError{}
		for _, n := range cycle {
			e.Paths = append(e.Paths, left[n].path())
		}
		for _, n := range cycle {
			left[n].problem(CheckInputs, e.Error())
		}
		return true
	})
	for _, n := range order {
		v.check(left[n])
	}
}
