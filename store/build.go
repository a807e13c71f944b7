package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// A BuildMode is the purpose of a build.
type BuildMode uint8

// The modes of Nix.
const (
	BuildNormal BuildMode = iota // make invalid paths valid
	BuildRepair                  // build or substitute damaged paths again; needs a trusted user
	BuildCheck                   // build valid paths again and compare
)

func (m BuildMode) String() string {
	switch m {
	case BuildNormal:
		return "normal"
	case BuildRepair:
		return "repair"
	case BuildCheck:
		return "check"
	}
	return fmt.Sprintf("BuildMode(%d)", uint8(m))
}

// A BuildStatus is the outcome of a build.
type BuildStatus uint8

// The statuses of Nix, numbered as in the protocol.
const (
	Built BuildStatus = iota
	Substituted
	AlreadyValid
	PermanentFailure
	InputRejected
	OutputRejected
	TransientFailure
	CachedFailure // no longer used
	TimedOut
	MiscFailure
	DependencyFailed
	LogLimitExceeded
	NotDeterministic
	ResolvesToAlreadyValid
	NoSubstituters
)

var statusNames = [...]string{
	"Built", "Substituted", "AlreadyValid", "PermanentFailure", "InputRejected", "OutputRejected",
	"TransientFailure", "CachedFailure", "TimedOut", "MiscFailure", "DependencyFailed",
	"LogLimitExceeded", "NotDeterministic", "ResolvesToAlreadyValid", "NoSubstituters",
}

// String returns the name in Nix's JSON.
func (s BuildStatus) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("BuildStatus(%d)", uint8(s))
}

// Succeeded reports whether the build succeeded.
func (s BuildStatus) Succeeded() bool {
	switch s {
	case Built, Substituted, AlreadyValid, ResolvesToAlreadyValid:
		return true
	}
	return false
}

// A BuildResult is the result of building a path.
type BuildResult struct {
	Status  BuildStatus
	Message string // the error; "" on success

	TimesBuilt       uint64
	NonDeterministic bool      // several builds produced different outputs
	Start, Stop      time.Time // in whole seconds; the zero time if unknown

	// CPUUser and CPUSystem are the processor time of the build. They are nil if unknown, as
	// before protocol 1.37.
	CPUUser, CPUSystem *time.Duration

	// Outputs are the wanted outputs, by name. They are nil before protocol 1.28.
	Outputs map[string]Realisation

	// DrvHash is the modulo hash of the derivation. Nix up to 2.34 uses it to identify Outputs:
	// see [DrvOutput]. The zero value means that it is unknown.
	DrvHash nixhash.Hash
}

// A KeyedBuildResult is a [BuildResult] and the path that was built.
type KeyedBuildResult struct {
	Path derivation.DerivedPath
	BuildResult
}

// A Realisation is the path of an output.
type Realisation struct {
	OutPath    storepath.Path
	Signatures []string
}

// A BuildError reports that building paths failed.
type BuildError struct {
	Paths []derivation.DerivedPath // the requested paths
	Err   error                    // the daemon's *activity.Error, or several joined errors
}

func (e *BuildError) Error() string {
	const most = 3 // number of paths in the message
	var names []string
	for _, p := range e.Paths[:min(most, len(e.Paths))] {
		names = append(names, "'"+p.String()+"'")
	}
	if more := len(e.Paths) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("building %s failed: %v", strings.Join(names, ", "), e.Err)
}

// Unwrap returns e.Err.
func (e *BuildError) Unwrap() error { return e.Err }

// ResultsError returns the error of a BuildPaths call that ended with these results, or nil if all succeeded. As in
// Nix, the error of a single failure is its message. If there are several, the error names them all, also those without
// a message, which were not tried, and the handler gets their messages. A nil handler gets nothing.
func ResultsError(h activity.Handler, results []KeyedBuildResult) error {
	var failed, messages []string
	for _, r := range results {
		if r.Status.Succeeded() {
			continue
		}
		name := r.Path.String()
		if built, ok := r.Path.(derivation.Built); ok {
			name = built.Drv.String() // Nix names a derivation without its outputs
		}
		failed = append(failed, "'"+name+"'")
		if r.Message != "" && !slices.Contains(messages, r.Message) {
			messages = append(messages, r.Message)
		}
	}
	slices.Sort(failed)
	failed = slices.Compact(failed)
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == 1 && len(messages) > 0:
		return errors.New(messages[0])
	}
	if h != nil && len(messages) > 0 {
		for _, m := range append(messages[1:], messages[0]) { // the order of Nix
			h.HandleEvent(activity.ErrorLog(m))
		}
	}
	return fmt.Errorf("build of %s failed", strings.Join(failed, ", "))
}

// PresentResult returns the result of building a path in a store that does not build. Existing
// paths are AlreadyValid. Others have failed, with the text of Nix where Nix has one. The error
// is not nil if the store fails, or if the derivation does not have the output, which Nix 2.34
// reports in the same way.
func PresentResult(ctx context.Context, s Store, path derivation.DerivedPath) (KeyedBuildResult, error) {
	r := KeyedBuildResult{Path: path, BuildResult: BuildResult{Status: AlreadyValid}}
	absent := func(status BuildStatus, format string, args ...any) (KeyedBuildResult, error) {
		r.Status, r.Message, r.Outputs = status, fmt.Sprintf(format, args...), nil
		return r, nil
	}
	built, ok := path.(derivation.Built)
	if !ok {
		valid, err := s.IsValidPath(ctx, path.Base())
		if err == nil && !valid {
			return withoutSubstituter(path), nil
		}
		return r, err
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return absent(MiscFailure, "cannot build '%s': this store does not build", path)
	}
	drvResult, err := PresentResult(ctx, s, drv)
	if err != nil {
		return r, err
	}
	if !drvResult.Status.Succeeded() {
		return absent(drvResult.Status, "%s", drvResult.Message)
	}
	outputs, err := OutputMap(ctx, s, drv.Path)
	if err != nil {
		return r, err
	}
	for _, name := range built.Outputs.Names().Slice() {
		if _, known := outputs[name]; !known {
			return r, fmt.Errorf("derivation '%s' does not have output '%s'", drv.Path, name)
		}
	}
	r.Outputs = make(map[string]Realisation)
	for name, out := range outputs {
		if !built.Outputs.Contains(name) {
			continue
		}
		valid := false
		if out != "" {
			if valid, err = s.IsValidPath(ctx, out); err != nil {
				return r, err
			}
		}
		if !valid {
			return absent(MiscFailure, "cannot build '%s': this store does not build, and its output '%s' is not valid", drv.Path, name)
		}
		r.Outputs[name] = Realisation{OutPath: out}
	}
	return r, nil
}

// withoutSubstituter returns the result of a path that no substituter has.
func withoutSubstituter(path derivation.DerivedPath) KeyedBuildResult {
	message := fmt.Sprintf("path '%s' is required, but there is no substituter that can build it", path.Base())
	return KeyedBuildResult{Path: path, BuildResult: BuildResult{Status: NoSubstituters, Message: message}}
}

// presentResults returns the results of building paths in a store that does not build. As in Nix, a check of a path that is
// no output has nothing to check, and its repair needs a substituter.
func presentResults(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error) {
	results := make([]KeyedBuildResult, len(paths))
	for i, path := range paths {
		_, isBuilt := path.(derivation.Built)
		if isBuilt && mode != BuildNormal {
			return nil, unsupported(s, "build")
		}
		if mode == BuildRepair {
			results[i] = withoutSubstituter(path)
			continue
		}
		var err error
		if results[i], err = PresentResult(ctx, s, path); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// checkAllPresent returns a [*BuildError] for the first path that would have to be built.
func checkAllPresent(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) error {
	results, err := presentResults(ctx, s, paths, mode)
	if err != nil {
		return err
	}
	for _, r := range results {
		if !r.Status.Succeeded() {
			return &BuildError{Paths: []derivation.DerivedPath{r.Path}, Err: errors.New(r.Message)}
		}
	}
	return nil
}

// A DrvOutput identifies an output of a derivation in queries for realisations. Stores and
// daemons up to Nix 2.34 identify the derivation by Hash, later ones (with the feature
// realisation-with-path-not-hash) by Path. A caller that sets both can query any store.
//
// The hash follows from the path if the whole closure of the derivation is available: see
// [DrvHash]. The path does not follow from the hash.
type DrvOutput struct {
	// Path is the path of the derivation. Nix from 2.35 on has realisations only of resolved
	// derivations. A resolved derivation has output paths of its inputs instead of input
	// derivations (see [derivation.Derivation.Resolve]).
	Path   storepath.Path
	Hash   nixhash.Hash // the modulo hash of the derivation
	Output string
}

// A KeyedRealisation is a [Realisation] and its output.
type KeyedRealisation struct {
	ID DrvOutput
	Realisation
}

// DrvHash returns the modulo hash of a derivation in s. Nix up to 2.34 identifies realisations
// by it. If s is not a [DrvHasher], DrvHash reads the closure of the derivation. It returns
// errors of s and of [derivation.LoadClosure].
func DrvHash(ctx context.Context, s Store, drv storepath.Path) (nixhash.Hash, error) {
	if h, ok := As[DrvHasher](s); ok {
		return h.DrvHash(ctx, drv)
	}
	closure, err := derivation.LoadClosure(ctx, Derivations(s), []storepath.Path{drv}, &derivation.ClosureOptions{ForHashes: true})
	if err != nil {
		return nixhash.Hash{}, err
	}
	if err := closure.Hash(ctx); err != nil {
		return nixhash.Hash{}, err
	}
	h, err := closure.HashModulo(drv, derivation.ForOutputs)
	return h.Hash, err
}

// QueryRealisation returns the path of an output in s; see [RealisationStore]. If s needs the
// hash of the derivation and only its path is given, [DrvHash] computes the hash.
func QueryRealisation(ctx context.Context, s Store, output DrvOutput) (*Realisation, error) {
	registry, ok := As[RealisationStore](s)
	if !ok {
		return nil, unsupported(s, "look up the paths of outputs")
	}
	r, err := registry.QueryRealisation(ctx, output)
	if hashed, failed := withHash(ctx, s, output, err); failed != nil {
		return nil, failed
	} else if hashed != output {
		return registry.QueryRealisation(ctx, hashed)
	}
	return r, err
}

// RegisterRealisation registers the path of an output in s; see [RealisationStore]. Like
// [QueryRealisation] it computes a missing hash.
func RegisterRealisation(ctx context.Context, s Store, r KeyedRealisation) error {
	registry, ok := As[RealisationStore](s)
	if !ok {
		return unsupported(s, "register the paths of outputs")
	}
	err := registry.RegisterDrvOutput(ctx, r)
	if hashed, failed := withHash(ctx, s, r.ID, err); failed != nil {
		return failed
	} else if hashed != r.ID {
		r.ID = hashed
		return registry.RegisterDrvOutput(ctx, r)
	}
	return err
}

// withHash adds the hash of the derivation to an output, if err reports that s needs it.
func withHash(ctx context.Context, s Store, id DrvOutput, err error) (DrvOutput, error) {
	unnamed, ok := errors.AsType[*UnnamedOutputError](err)
	if !ok || unnamed.Lacks != "hash" || id.Path == "" {
		return id, nil
	}
	id.Hash, err = DrvHash(ctx, s, id.Path)
	return id, err
}

// ResolvedPath returns the path of a derivation after its input derivations are replaced by
// their output paths. Nix from 2.35 on identifies realisations by it. outputOf returns the path
// of an output of an input. If it returns "" or [ErrNotFound] for one of them, ResolvedPath
// returns "".
func ResolvedPath(d *derivation.Derivation, outputOf func(input derivation.SingleDerivedPath, output string) (storepath.Path, error)) (storepath.Path, error) {
	var failed error
	r, err := d.Resolve(func(input derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		path, err := outputOf(input, output)
		if err != nil && !errors.Is(err, ErrNotFound) && failed == nil {
			failed = err
		}
		return path, path != "" && err == nil
	})
	switch _, unknown := errors.AsType[*derivation.UnresolvedError](err); {
	case failed != nil:
		return "", failed
	case unknown:
		return "", nil
	case err != nil:
		return "", err
	}
	return r.Path()
}

// An UnnamedOutputError reports that an output lacks the hash or the path by which the store
// identifies its derivation. It matches [errors.ErrUnsupported].
type UnnamedOutputError struct {
	Output string
	Lacks  string // "hash" or "path"
}

func (e *UnnamedOutputError) Error() string {
	return fmt.Sprintf("output %s needs the %s of its derivation, which is missing", e.Output, e.Lacks)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *UnnamedOutputError) Is(target error) bool { return target == errors.ErrUnsupported }

// A DrvHasher is a [Store] that computes the modulo hash of a valid derivation.
type DrvHasher interface {
	DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error)
}
