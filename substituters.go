package pix

import (
	"context"

	"pix/localstore"
	"pix/store"
	"pix/substitute"
)

// withSubstituters returns a store in a directory that substitutes as the options say.
func (o *Options) withSubstituters(s *localstore.Store, local *localstore.Options) store.Store {
	settings, uris := o.Substitution, o.Substituters
	if settings == nil && len(uris) == 0 {
		return s
	}
	if settings == nil {
		settings = func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
			subs, err := sources.Get(ctx, uris)
			return &substitute.Settings{Substituters: subs, TrustedKeys: local.TrustedKeys, NoSignatures: local.NoSignatures}, err
		}
	}
	if local.NoSignatures != o.localOptions().NoSignatures { // the URI says so
		settings = withSignatures(settings, local.NoSignatures)
	}
	others := *o
	others.Substituters, others.Substitution = nil, nil // where they get things from is their own affair
	others.ClosureLimits = nil                          // these count here
	only := o.localOptions()
	only.ReadOnly = true
	others.Local = &only
	sources := &substitute.Sources{Open: func(ctx context.Context, uri string) (store.Store, error) {
		return Open(ctx, uri, &others)
	}}
	sources.Variant = o.cacheVariant
	return substitute.New(s, &substitute.Options{
		Settings: func(ctx context.Context) (*substitute.Settings, error) { return settings(ctx, sources) },
		Sources:  sources,
		Limits:   o.ClosureLimits,
	})
}

// cacheVariant returns the options that a cache opened in this context has for as long as it is open, and that
// differ between contexts.
func (o *Options) cacheVariant(ctx context.Context) string {
	if o.Cache == nil || o.Cache.HTTP.Override == nil {
		return ""
	}
	h := o.Cache.HTTP
	h.Override(ctx, &h)
	return h.Netrc + "\x00" + h.CAFile
}

// withSignatures returns the settings of a store whose URI says whether objects need signatures.
func withSignatures(settings func(context.Context, *substitute.Sources) (*substitute.Settings, error), no bool) func(context.Context, *substitute.Sources) (*substitute.Settings, error) {
	return func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
		s, err := settings(ctx, sources)
		if s != nil {
			s.NoSignatures = no
		}
		return s, err
	}
}
