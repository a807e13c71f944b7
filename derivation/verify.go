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

// A Check is one of the checks of [Verify].
type Check uint8

// The checks in order.
const (
	CheckParse       Check = iota + 1 // the file can be read and is a derivation
	CheckCanonical                    // a released Nix could have written the file
	CheckOwnPath                      // the store path matches contents and references
	CheckInputs                       // the inputs have the used outputs, and there is no cycle
	CheckOutputPaths                  // output paths and their variables match the computed paths
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

// A Problem is a finding of a check.
type Problem struct {
	Check Check
	// Reason says what the problem is.
	Reason string
	// Want is the expected value and Got the actual one, if they are known. Otherwise Want is "".
	Want, Got string
}

// String returns the check, the reason, and the expected and the actual value.
func (p Problem) String() string {
	if p.Want == "" {
		return fmt.Sprintf("%s: %s", p.Check, p.Reason)
	}
	return fmt.Sprintf("%s: %s, expected %s, found %s", p.Check, p.Reason, truncate(p.Want), truncate(p.Got))
}

// A VerifyStatus is the result for one derivation.
type VerifyStatus uint8

const (
	// Verified derivations have passed all checks. If the paths of outputs are known only after the
	// build, they are not checked.
	Verified VerifyStatus = iota + 1
	// Failed derivations have failed at least one check.
	Failed
	// Skipped derivations have passed all checks except CheckOutputPaths, which was impossible because
	// an input is missing, or does not have the contents that its name requires.
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

// A VerifyResult is the result of [Verify] for one file.
type VerifyResult struct {
	File     string // name of the file in its directory
	Status   VerifyStatus
	Problems []Problem      // why it failed or was skipped; empty if it is verified
	Kind     OutputKind     // kind of the outputs; 0 if it is not valid
	Modulo   ModuloHash     // the hash [AsInput]; the zero value if it is unknown
	Own      ModuloHash     // the hash [ForOutputs], if it was computed
	Path     storepath.Path // store path of the file; "" if it could not be parsed
}

// VerifyOptions are the options of [Verify]. A nil pointer is the zero value.
type VerifyOptions struct {
	// Dir is the store directory of all paths. If it is "", the paths in each derivation determine
	// it. A derivation without paths has the directory of the others, or else
	// [storepath.DefaultDir].
	Dir storepath.Dir
	// Modulo are the rules for computing hashes.
	Modulo *ModuloOptions
	// Progress is called from time to time with the number of finished files and of all files. One
	// goroutine calls it at a time.
	Progress func(done, total int)
	// Hashes requests both modulo hashes of each derivation, even if no check needs them.
	Hashes bool
}

// Verify checks the derivations in files of dir, and reads as much of their closures as it needs. It reads
// the files in parallel, each once, and continues after a failure. There is one result for each of files,
// in the same order. Verify looks for other inputs in dir; they have no results.
//
// The checks are the constants of type [Check]. Fixed, floating and impure outputs can be verified without
// the inputs. An input that cannot be read, or whose store path does not match its contents, counts as
// missing.
//
// The error is the error of ctx.
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
	v.setDirs()
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

	reporting sync.Mutex // held while Progress runs
}

// A subject is a file to be verified, or an input whose hash is needed.
type subject struct {
	file   string
	number int32
	result VerifyResult

	parsed     *parsed // the locations in the text
	sum        nixhash.Hash
	derivation *Derivation // nil if it could not be parsed
	canonical  bool
	inputs     []*subject // in the order of the derivation; nil for an input that is missing
	usesInputs bool       // false for a fixed output, which does not depend on them

	missing  string // which needed input is missing; "" if none is
	pathOK   bool   // the store path matches the contents
	hashed   bool   // result.Modulo is set
	deferred bool   // dependents are known to be deferred
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

// readAll reads the files, then the files of their inputs that were not read yet, and so on.
func (v *verifier) readAll(ctx context.Context) error {
	for from := 0; from < len(v.subjects); {
		round := v.subjects[from:]
		from = len(v.subjects)
		if err := forEach(ctx, v.workers, round, v.read); err != nil {
			return err
		}
		for _, s := range round {
			v.linkInputs(s)
		}
	}
	return nil
}

// forEach calls do for each element of list on several goroutines, until the context ends.
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
		s.problem(CheckParse, "the file does not have the name of a derivation in a store, <hash>-<name>.drv")
		return
	}
	text, err := v.dir.read(s.file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			s.problem(CheckParse, "the file does not exist")
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
	if err := p.checkCanonical(d); err != nil {
		s.problem(CheckCanonical, err.Error())
	} else {
		s.canonical = true
	}
	kind, err := d.Kind()
	if err == nil {
		s.result.Kind = kind
	}
	s.usesInputs = kind != Fixed
}

func (s *subject) problem(check Check, reason string) {
	s.result.Problems = append(s.result.Problems, Problem{Check: check, Reason: reason})
}

// linkInputs sets the inputs of s.
func (v *verifier) linkInputs(s *subject) {
	if s.derivation == nil || !s.usesInputs {
		return
	}
	s.inputs = make([]*subject, 0, s.derivation.InputDerivations.Len())
	for input := range s.derivation.InputDerivations.Keys() {
		if !input.IsDerivation() {
			s.problem(CheckInputs, fmt.Sprintf("the input %s is not a derivation", input))
			s.inputs = append(s.inputs, nil)
			continue
		}
		s.inputs = append(s.inputs, v.add(input.Base()))
	}
}

// setDirs sets the store directory of derivations without paths.
func (v *verifier) setDirs() {
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

// checkAll makes the checks that need hashes of inputs, in the order of dependencies.
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

// checkCycles checks the derivations that checkAll has not reached because they are on a cycle or depend on
// one.
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
	// There are no cycles left, so order reaches all.
	order, _ := g.order(all)
	for _, n := range order {
		if s := v.subjects[n]; s.result.Status == 0 {
			v.check(s)
		}
	}
}

// path returns the store path that the name of the file requires.
func (s *subject) path() storepath.Path {
	path, err := s.derivation.Dir.ParseBase(s.file)
	if err != nil {
		panic(err) // cannot happen: read rejects such a name
	}
	return path
}
