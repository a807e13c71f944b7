package pix

import (
	"context"

	"pix/localstore"
	"pix/store"
	"pix/substitute"
)

// withSubstituters returns a store that substitutes missing paths of s, or s if the options have no substituters.
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
	if local.NoSignatures != o.localOptions().NoSignatures { // the URI has the parameter require-sigs
		settings = withSignatures(settings, local.NoSignatures)
	}
	others := *o
	others.Substituters, others.Substitution = nil, nil // substituters do not substitute themselves
	others.ClosureLimits = nil                          // the substituting store applies them
	if o.Cache != nil {                                 // nothing is sent to a substituter
		cache := *o.Cache
		cache.Create = false
		others.Cache = &cache
	}
	readOnly := o.localOptions()
	readOnly.ReadOnly = true
	others.Local = &readOnly
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

// cacheVariant returns a key of the options that a cache keeps while it is open and that depend on the context in
// which it is opened. Calls with different keys do not share a cache.
func (o *Options) cacheVariant(ctx context.Context) string {
	if o.Cache == nil || o.Cache.HTTP.Override == nil {
		return ""
	}
	h := o.Cache.HTTP
	h.Override(ctx, &h)
	return h.Netrc + "\x00" + h.CAFile
}

// withSignatures returns settings in which NoSignatures is set as the URI of the store requires.
func withSignatures(settings func(context.Context, *substitute.Sources) (*substitute.Settings, error), noSignatures bool) func(context.Context, *substitute.Sources) (*substitute.Settings, error) {
	return func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
		s, err := settings(ctx, sources)
		if s != nil {
			s.NoSignatures = noSignatures
		}
		return s, err
	}
}
