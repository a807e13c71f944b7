package derivation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"pix/nixhash"
	"pix/storepath"
)

// A Check is one of the things that [Verify] looks at.
type Check uint8

// The checks, in their order.
const (
	CheckParse       Check = iota + 1 // the file can be read and is a derivation
	CheckCanonical                    // it is what a released Nix has written
	CheckOwnPath                      // its store path follows from its content and references
	CheckInputs                       // its inputs have the outputs that are used, and are no cycle
	CheckOutputPaths                  // its output paths and their variables follow from its closure
)

var checkNames = [...]string{
	CheckParse: "parse", CheckCanonical: "canonical", CheckOwnPath: "own path", CheckInputs: "inputs", CheckOutputPaths: "output paths",
}

// String returns the name of the check in lower case.
func (c Check) String() string {
	if c < CheckParse || c > CheckOutputPaths {
		return fmt.Sprintf("Check(%d)", uint8(c))
	}
	return checkNames[c]
}

// A Problem is what a check has found.
type Problem struct {
	Check Check
	// Reason says what is wrong.
	Reason string
	// Want and Got are what was expected and what was found where the two differ; else
	// Want is "".
	Want, Got string
}

// String returns the check, the reason, and what was expected and found.
func (p Problem) String() string {
	if p.Want == "" {
		return fmt.Sprintf("%s: %s", p.Check, p.Reason)
	}
	return fmt.Sprintf("%s: %s, expected %s, found %s", p.Check, p.Reason, abridge(p.Want), abridge(p.Got))
}

// A VerifyStatus is the outcome for one derivation.
type VerifyStatus uint8

const (
	// Verified derivations passed all checks. Outputs whose paths are known only after
	// the build have nothing to be checked.
	Verified VerifyStatus = iota + 1
	// Failed derivations did not pass at least one.
	Failed
	// Skipped derivations passed all checks but that of their output paths, for which
	// an input is needed that is missing or is not what its name says.
	Skipped
)

// String returns "verified", "failed" or "skipped".
func (s VerifyStatus) String() string {
	switch s {
	case Verified:
		return "verified"
	case Failed:
		return "failed"
	case Skipped:
		return "skipped"
	}
	return fmt.Sprintf("VerifyStatus(%d)", uint8(s))
}

// A VerifyResult is what [Verify] has found out about one file.
type VerifyResult struct {
	File     string // the name of the file in its directory
	Status   VerifyStatus
	Problems []Problem      // what is wrong; why it was skipped; empty if it is verified
	Kind     OutputKind     // of the outputs; 0 if they are of none
	Modulo   ModuloHash     // with [AsInput]; the zero value if it is not known
	Own      ModuloHash     // with [ForOutputs], where it was computed
	Path     storepath.Path // the store path of the file; "" if it did not parse
}

// VerifyOptions say how derivations are verified. A nil pointer means the defaults.
type VerifyOptions struct {
	// Dir is the store directory in which all paths must lie. If it is "", each
	// derivation says it by its paths, and those that have none lie where the others
	// do, or else in [storepath.DefaultDir].
	Dir storepath.Dir
	// Modulo are the rules by which hashes are computed.
	Modulo *ModuloOptions
	// Progress is called now and then with the number of files that are finished and of
	// all; by one goroutine at a time.
	Progress func(done, total int)
	// Hashes computes both modulo hashes of each derivation, also where no check needs
	// them.
	Hashes bool
}

// Verify checks the derivations in the files of that directory, and as much of their
// closures as it needs. It reads all in parallel and each once, and goes on after a
// failure. There is one result for each of the files, in their order; inputs that are
// not among them are looked for in the directory and have none.
//
// The checks are those of [Check]. Inputs are not needed to verify a fixed, floating
// or impure output. An input that cannot be read, or whose store path does not follow
// from its content, counts as missing: what was wanted is not there.
//
// The error is that of the context.
func Verify(ctx context.Context, dir Directory, files []string, o *VerifyOptions) ([]VerifyResult, error) {
	if o == nil {
		o = &VerifyOptions{}
	}
	v := &verifier{dir: dir, options: o, workers: runtime.GOMAXPROCS(0), byFile: make(map[string]*subject, len(files))}
	for _, file := range files {
		v.add(file)
	}

	if err := v.readAll(ctx); err != nil {
		return nil, err
	}
	v.settleDirs()
	if err := v.checkAll(ctx); err != nil {
		return nil, err
	}
	results := make([]VerifyResult, len(files))
	for i, file := range files {
		results[i] = v.byFile[file].result
	}

	return results, nil
}

// A verifier is one run of [Verify].
type verifier struct {
	dir      Directory
	options  *VerifyOptions
	workers  int
	subjects []*subject
	byFile   map[string]*subject
	done     atomic.Int64

	reporting sync.Mutex // held while progress is told
}

// A subject is a file that is verified, or whose hash is needed for another.
type subject struct {
	file   string
	number int32
	result VerifyResult

	parsed     *parsed // what is to be found in the text
	sum        nixhash.Hash
	derivation *Derivation // nil if it did not parse
	canonical  bool
	inputs     []*subject // in the order of the derivation's; nil for one that is missing
	needed     bool       // whether the inputs are needed: not for a fixed output

	lacks  string // which input is missing; "" if none that is needed
	sound  bool   // whether it is what its name says
	hashed bool   // whether result.Modulo is known
	defers bool   // whether it is known that dependents are deferred
}

func (v *verifier) add(file string) *subject {
	s, ok := v.byFile[file]
	if !ok {
		s = &subject{file: file, number: int32(len(v.subjects)), result: VerifyResult{File: file}}
		v.byFile[file] = s
		v.subjects = append(v.subjects, s)
	}
	return s
}

// readAll reads the files, then those of their inputs that are not among them, and so
// on until all are there.
func (v *verifier) readAll(ctx context.Context) error {
	for from := 0; from < len(v.subjects); {
		round := v.subjects[from:]
		from = len(v.subjects)
		if err := forEach(ctx, v.workers, round, v.read); err != nil {
			return err
		}
		for _, s := range round {
			v.link(s)
		}
	}
	return nil
}

// forEach calls do for each element of list, on that many goroutines, until the
// context ends.
func forEach[T any](ctx context.Context, workers int, list []T, do func(T)) error {
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(list)) {
					return
				}
				do(list[i])
			}
		})
	}
	running.Wait()
	return ctx.Err()
}

// read reads and parses one file.
func (v *verifier) read(s *subject) {
	name, ok := strings.CutSuffix(s.file, storepath.DerivationExt)
	if _, err := storepath.DefaultDir.ParseBase(s.file); err != nil || !ok {
		s.problem(CheckParse, "the file is not named like a derivation in a store: <hash>-<name>.drv")
		return
	}
	text, err := v.dir.read(s.file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			s.problem(CheckParse, "there is no such file")
		} else {
			s.problem(CheckParse, err.Error())
		}
		return
	}
	p := newParser(text, v.options.Dir)
	d, err := p.parse()
	if err != nil {
		s.problem(CheckParse, err.Error())
		return
	}
	d.Name = name[storepath.HashPartLen+1:]
	s.parsed, s.derivation = p.parsed, d
	s.sum = nixhash.SHA256Hash(sha256.Sum256([]byte(text)))
	if err := p.canonical(d); err != nil {
		s.problem(CheckCanonical, err.Error())
	} else {
		s.canonical = true
	}
	kind, err := d.Kind()
	if err == nil {
		s.result.Kind = kind
	}
	s.needed = kind != Fixed
}

func (s *subject) problem(check Check, reason string) {
	s.result.Problems = append(s.result.Problems, Problem{Check: check, Reason: reason})
}

// link finds the inputs of s.
func (v *verifier) link(s *subject) {
	if s.derivation == nil || !s.needed {
		return
	}
	s.inputs = make([]*subject, 0, s.derivation.InputDerivations.Len())
	for input := range s.derivation.InputDerivations.Keys() {
		if !input.IsDerivation() {
			s.problem(CheckInputs, fmt.Sprintf("the input derivation %s is no derivation", input))
			s.inputs = append(s.inputs, nil)
			continue
		}
		s.inputs = append(s.inputs, v.add(input.Base()))
	}
}

// settleDirs gives a store directory to derivations that have no path to tell it.
func (v *verifier) settleDirs() {
	common := v.options.Dir
	for _, s := range v.subjects {
		if common == "" && s.derivation != nil {
			common = s.derivation.Dir
		}
	}
	if common == "" {
		common = storepath.DefaultDir
	}
	for _, s := range v.subjects {
		if s.derivation != nil && s.derivation.Dir == "" {
			s.derivation.Dir = common
		}
	}
}

// checkAll does what needs hashes of inputs, in the order of dependencies.
func (v *verifier) checkAll(ctx context.Context) error {
	g := make(graph, len(v.subjects))
	all := make([]int32, len(v.subjects))
	for i, s := range v.subjects {
		all[i] = int32(i)
		for _, input := range s.inputs {
			if input != nil {
				g[i] = append(g[i], input.number)
			}
		}
	}
	err := g.forEachInOrder(ctx, v.workers, func(n int32) error {
		v.check(v.subjects[n])
		return nil
	})
	if err != nil {
		return err
	}
	v.checkCycles(ctx, g, all)
	return nil
}

// checkCycles finishes those that were not reached because they are on a cycle, or
// depend on one.
func (v *verifier) checkCycles(ctx context.Context, g graph, all []int32) {
	for {
		_, cycle := g.order(all)
		if cycle == nil {
			break
		}
		e := &CycleError{}
		for _, n := range cycle {
			e.Paths = append(e.Paths, v.subjects[n].path())
		}
		for _, n := range cycle {
			v.subjects[n].problem(CheckInputs, e.Error())
			g[n] = nil
		}
	}
	// What is left waits for nothing any more: order has seen to it.
	order, _ := g.order(all)
	for _, n := range order {
		if s := v.subjects[n]; s.result.Status == 0 {
			v.check(s)
		}
	}
}

// path returns the store path that the file's name says.
func (s *subject) path() storepath.Path {
	path, err := s.derivation.Dir.ParseBase(s.file)
	if err != nil {
		panic(err) // read has refused such a name
	}
	return path
}
