package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pix/nixconf"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/substitute"
)

// substitution returns what the calls of a store in a directory go by when they lack something: what
// nix.conf says and, in a daemon, what its clients have set. It is nil if nothing is ever substituted.
func (a *app) substitution(conf *nixconf.Conf) func(context.Context, *substitute.Sources) (*substitute.Settings, error) {
	if !a.serves && (len(conf.Substituters) == 0 || !conf.Substitute) {
		return nil
	}
	return func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
		requireSigs, conf := conf.RequireSigs, conf
		keepGoing := a.settings != nil && a.settings.KeepGoing
		if set := server.SettingsOf(ctx); set != nil {
			conf, keepGoing = withClientSettings(conf, set), set.KeepGoing
		}
		settings := &substitute.Settings{
			NoSignatures:         !requireSigs, // of paths, it is a setting of the store in Nix
			UnsignedRealisations: !conf.RequireSigs,
			Fallback:             conf.Fallback, KeepGoing: keepGoing,
		}
		if !conf.Substitute || len(conf.Substituters) == 0 {
			return settings, nil
		}
		var err error
		if settings.TrustedKeys, err = trustedKeys(conf); err != nil {
			return nil, err
		}
		settings.Substituters, err = sources.Get(ctx, conf.Substituters)
		return settings, err
	}
}

// withClientSettings returns a configuration in which clients have changed what they may. What cannot
// be read is as good as not set.
func withClientSettings(conf *nixconf.Conf, set *protocol.SetOptionsRequest) *nixconf.Conf {
	changed := *conf
	changed.Unknown = nil // the rest of its lists are replaced, not changed
	changed.Substitute, changed.Fallback = set.UseSubstitutes, set.TryFallback
	for _, name := range slices.Sorted(maps.Keys(set.Overrides)) {
		changed.Set(nixconf.Assignment{Name: name, Value: set.Overrides[name], File: "the client's settings"})
	}
	return &changed
}

// clientKeys returns the trusted keys for the uploads of a trusted client with these settings, or nil if
// the client has set none.
func clientKeys(conf *nixconf.Conf, set *protocol.SetOptionsRequest) (signature.KeySet, error) {
	for _, name := range []string{"trusted-public-keys", "extra-trusted-public-keys", "binary-cache-public-keys"} {
		if _, has := set.Overrides[name]; has {
			return trustedKeys(withClientSettings(conf, set))
		}
	}
	return nil, nil
}

// trustedKeys returns the keys whose signatures are believed.
func trustedKeys(conf *nixconf.Conf) (signature.KeySet, error) {
	keys, err := signature.ParseKeySet(strings.Join(conf.TrustedPublicKeys, " "))
	if err != nil {
		return nil, &usageError{fmt.Errorf("trusted-public-keys: %w", err)}
	}
	return keys, nil
}
