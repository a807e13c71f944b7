package protocol

import (
	"math"

	"pix/activity"
)

// A SetOptionsRequest sets settings of a connection. They cannot be unset. The daemon ignores
// restricted settings of a user that it does not trust. A build's connection to its daemon has
// no settings: see [NoSetOptions].
type SetOptionsRequest struct {
	KeepFailed     bool
	KeepGoing      bool
	TryFallback    bool
	Verbosity      activity.Verbosity
	MaxBuildJobs   uint32
	MaxSilentTime  uint32 // seconds; 0 means no limit
	VerboseBuild   bool
	BuildCores     uint32 // 0 means all
	UseSubstitutes bool
	Overrides      map[string]string // other settings, by the names of nix.conf
}

func (*SetOptionsRequest) Op() Op { return SetOptions }
func (r *SetOptionsRequest) code(c *codec) {
	c.bool("keep-failed", &r.KeepFailed)
	c.bool("keep-going", &r.KeepGoing)
	c.bool("fallback", &r.TryFallback)
	number(c, "verbosity", &r.Verbosity, math.MaxUint32)
	number(c, "max-jobs", &r.MaxBuildJobs, math.MaxUint32)
	number(c, "max-silent-time", &r.MaxSilentTime, math.MaxUint32)
	c.obsolete("build hook", 1)
	c.verboseBuild(&r.VerboseBuild)
	c.obsolete("log type", 0)
	c.obsolete("print build trace", 0)
	number(c, "cores", &r.BuildCores, math.MaxUint32)
	c.bool("substitute", &r.UseSubstitutes)
	c.stringMap("overrides", &r.Overrides)
}

// verboseBuild codes a bool. On the wire it is the verbosity at which build logs are shown.
func (c *codec) verboseBuild(b *bool) {
	if c.form.isText() {
		c.bool("verbose build", b)
		return
	}
	level := activity.LevelVomit
	if *b {
		level = activity.LevelError
	}
	number(c, "verbose build", &level, math.MaxUint32)
	if !c.encoding() {
		*b = level == activity.LevelError
	}
}

// A None is the empty reply of operations that end with Last.
type None struct{}

func (*None) code(*codec) {}
