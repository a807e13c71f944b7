package substitute

import (
	"cmp"
	"context"
	"time"

	"pix/derivation"
	"pix/signature"
	"pix/store"
)

// Settings are what a call goes by. The zero value has no substituters.
type Settings struct {
	// Substituters are asked in the order of their priorities.
	Substituters []Substituter

	// TrustedKeys are the keys that one of must have signed what is not addressed by its
	// contents, Nix's trusted-public-keys.
	TrustedKeys signature.KeySet

	// NoSignatures believes everything. It is the opposite of Nix's require-sigs.
	NoSignatures bool

	// UnsignedRealisations believes every substituter which path an output of a derivation has got.
	// NoSignatures implies it.
	UnsignedRealisations bool

	// Fallback says that a substituter which fails is as good as none, Nix's fallback.
	Fallback bool

	// KeepGoing gets all that can be had, also if something else that is wanted cannot, Nix's
	// keep-going.
	KeepGoing bool
}

// Options say where a store gets what it lacks.
type Options struct {
	// Settings returns what a call with that context goes by. It is asked as soon as something is
	// missing, and not before, and may take its time: this is where substituters are opened that
	// were not needed before, see [Sources].
	Settings func(ctx context.Context) (*Settings, error)

	// Sources are closed together with the store; nil is none.
	Sources *Sources

	// StallTimeout is how long a call waits for the next answer, or the next bytes, of a substituter that is not a
	// binary cache, which has timeouts of its own. 0 is 5 minutes.
	StallTimeout time.Duration

	// Limits bound what substituters may tell of in one call: see [store.Limits]. Nil is
	// [derivation.ForeignLimits].
	Limits *store.Limits
}

// stallTimeout returns the StallTimeout of the options or its default.
func (o *Options) stallTimeout() time.Duration { return cmp.Or(o.StallTimeout, 5*time.Minute) }

// limits returns how much substituters may tell.
func (o *Options) limits() store.Limits {
	if o.Limits != nil {
		return *o.Limits
	}
	return derivation.ForeignLimits()
}
