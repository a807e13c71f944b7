package derivation

import (
	"context"
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
	v := &verifier{dir: dir, options: o, workers: runtime.GOMAXPROCS(0), listed: make(map[string]*subject, len(files)), others: make(map[string]*subject)}
	v.wake.L = &v.mu
	if err := v.verifyAll(ctx, files); err != nil {
		return nil, err
	}
	results := make([]VerifyResult, len(files))
	for i, file := range files {
		results[i] = v.listed[file].result
	}
	return results, nil
}

// A verifier is one run of [Verify].
type verifier struct {
	dir     Directory
	options *VerifyOptions
	workers int
	common  storepath.Dir // the store directory of derivations without paths

	// listed has the subjects of the files to verify. It does not change while goroutines run, so they look up inputs
	// without the lock. 72,000 derivations take two goroutines 1.4 s then, and 1.9 s with the lock.
	listed map[string]*subject

	mu       sync.Mutex
	wake     sync.Cond // todo, busy or err has changed
	subjects []*subject
	others   map[string]*subject // the subjects of other inputs
	todo     []*subject          // a stack of subjects to read or to check; stale entries are skipped
	busy     int                 // goroutines that work on a subject
	err      error

	done, total atomic.Int64

	reporting sync.Mutex // held while Progress runs
}

// A subject is a file to be verified, or an input whose hash is needed.
type subject struct {
	file   string
	number int32 // among the subjects that are on a cycle or depend on one
	result VerifyResult

	// These fields keep the text in memory. They are nil after the checks.
	parsed     *parsed // the locations in the text
	derivation *Derivation
	inputs     []*subject // in the order of the derivation; nil for an input that is missing

	sum        nixhash.Hash
	isParsed   bool     // the file is a derivation
	outputs    []string // the names of its outputs, sorted
	canonical  bool
	usesInputs bool // false for a fixed output, which does not depend on them

	state      subjectState
	waiting    int        // number of inputs that are not checked
	dependents []*subject // subjects that wait for this one

	missing  string // which needed input is missing; "" if none is
	pathOK   bool   // the store path matches the contents
	hashed   bool   // result.Modulo is set
	deferred bool   // dependents are known to be deferred
}

// read reads and parses the file of a subject.
func (v *verifier) read(s *subject) {
	p, d, reason := v.load(s.file)
	if reason != "" {
		s.problem(CheckParse, reason)
		return
	}
	s.parsed, s.derivation, s.isParsed = p.parsed, d, true
	s.outputs = outputNames(d)
	s.sum = sumText(p.parsed.text)
	if err := p.checkCanonical(d); err != nil {
		s.problem(CheckCanonical, err.Error())
	} else {
		s.canonical = true
	}
	if d.Dir == "" {
		d.Dir = v.common
	}
	kind, err := d.Kind()
	if err == nil {
		s.result.Kind = kind
	}
	s.usesInputs = kind != Fixed
}

// load parses a file. If that fails, it returns the reason.
func (v *verifier) load(file string) (p parser, d *Derivation, reason string) {
	name, ok := strings.CutSuffix(file, storepath.DerivationExt)
	if _, err := storepath.DefaultDir.ParseBase(file); err != nil || !ok {
		return p, nil, "the file does not have the name of a derivation in a store, <hash>-<name>.drv"
	}
	text, err := v.dir.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil, "the file does not exist"
	}
	if err != nil {
		return p, nil, err.Error()
	}
	p = newParser(text, v.options.Dir)
	if d, err = p.parse(); err != nil {
		return p, nil, err.Error()
	}
	d.Name = name[storepath.HashPartLen+1:]
	return p, d, ""
}

// outputNames returns the names of the outputs, which do not keep the text in memory.
func outputNames(d *Derivation) []string {
	if d.Outputs.Len() == 1 && d.Outputs.Has(onlyOut[0]) {
		return onlyOut
	}
	names := make([]string, 0, d.Outputs.Len())
	for name := range d.Outputs.Keys() {
		names = append(names, strings.Clone(name))
	}
	return names
}

func (s *subject) problem(check Check, reason string) {
	s.result.Problems = append(s.result.Problems, Problem{Check: check, Reason: reason})
}

// path returns the store path that the name of the file requires.
func (s *subject) path() storepath.Path {
	path, err := s.derivation.Dir.ParseBase(s.file)
	if err != nil {
		panic(err) // cannot happen: read rejects such a name
	}
	return path
}
