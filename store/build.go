package store

import (
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

// A BuildMode says what a build is for.
type BuildMode uint8

// The modes of Nix.
const (
	BuildNormal BuildMode = iota // make the paths valid that are not
	BuildRepair                  // rebuild or fetch again what is damaged; needs a trusted user
	BuildCheck                   // build again what is valid, and compare
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

// A BuildStatus says how a build ended.
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

// String returns the name that Nix's JSON has for the status.
func (s BuildStatus) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("BuildStatus(%d)", uint8(s))
}

// Succeeded reports whether the status is one of success.
func (s BuildStatus) Succeeded() bool {
	switch s {
	case Built, Substituted, AlreadyValid, ResolvesToAlreadyValid:
		return true
	}
	return false
}

// A BuildResult says how the build of one path ended.
type BuildResult struct {
	Status  BuildStatus
	Message string // why it failed; "" on success

	TimesBuilt       uint64
	NonDeterministic bool      // builds of it were seen to differ
	Start, Stop      time.Time // in whole seconds; the zero time if unknown

	// CPUUser and CPUSystem are the time that the build took of the processor; nil if
	// unknown, as before protocol 1.37.
	CPUUser, CPUSystem *time.Duration

	// Outputs are those that were wanted, by name. Nil before protocol 1.28.
	Outputs map[string]Realisation

	// DrvHash is the modulo hash of the derivation, by which Nix up to 2.34 names Outputs: see
	// [DrvOutput]. The zero value means that it is not known.
	DrvHash nixhash.Hash
}

// A KeyedBuildResult is a [BuildResult] and what was to be built.
type KeyedBuildResult struct {
	Path derivation.DerivedPath
	BuildResult
}

// A Realisation is the path that an output has got.
type Realisation struct {
	OutPath    storepath.Path
	Signatures []string
}

// A BuildError says that paths could not be made valid, and why.
type BuildError struct {
	Paths []derivation.DerivedPath // what was asked for
	Err   error                    // why; the daemon's own *activity.Error, or joined ones
}

func (e *BuildError) Error() string {
	const most = 3 // paths worth naming in a line
	var names []string
	for _, p := range e.Paths[:min(most, len(e.Paths))] {
		names = append(names, "'"+p.String()+"'")
	}
	if more := len(e.Paths) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("building %s failed: %v", strings.Join(names, ", "), e.Err)
}

// Unwrap returns why.
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
			h.HandleEvent(activity.Log{Level: activity.LevelError, Text: "error: " + m})
		}
	}
	return fmt.Errorf("build of %s failed", strings.Join(failed, ", "))
}
