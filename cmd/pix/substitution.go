package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pix/nixconf"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/substitute"
)

// substitution returns a function that returns the substitution settings of one call: the configuration, changed in
// a daemon by the settings of the client. It returns nil if no call can substitute.
func (a *app) substitution(conf *nixconf.Conf, c *storeChoice) func(context.Context, *substitute.Sources) (*substitute.Settings, error) {
	if c.open.serving == notServing && !substitutes(conf) {
		return nil
	}
	cache, cacheErr := a.cacheOptions(c.open.serving)
	c.options.Cache = cache
	return func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
		requireSigs := conf.Reader().Bool("require-sigs") // for paths, a setting of the store in Nix: clients cannot change it
		conf := conf
		if set := server.SettingsOf(ctx); set != nil {
			conf = withClientSettings(conf, set)
		}
		r := conf.Reader()
		settings := &substitute.Settings{
			NoSignatures:         !requireSigs,
			UnsignedRealisations: !r.Bool("require-sigs"),
			Fallback:             r.Bool("fallback"),
			KeepGoing:            r.Bool("keep-going"),
			AlwaysAllowed:        r.Bool("always-allow-substitutes"),
		}
		uris := r.Words("substituters")
		if !r.Bool("substitute") {
			uris = nil
		}
		if err := r.Err(); err != nil {
			return nil, &usageError{err}
		}
		if len(uris) == 0 {
			return settings, nil
		}
		if cacheErr != nil {
			return nil, cacheErr
		}
		settings.TrustedKeys, _ = trustedKeys(conf) // opening the store has warned about invalid keys
		var err error
		settings.Substituters, err = sources.Get(ctx, uris)
		return settings, err
	}
}

// substitutes reports whether the configuration lets a store substitute at all.
func substitutes(conf *nixconf.Conf) bool {
	substituters := conf.Get("substituters")
	return conf.Get("substitute").Text != "false" && (substituters.Text != "" || substituters.Err != nil)
}

// withClientSettings returns conf with the settings of a client, except settings that no client may change. The
// server has already removed those that an untrusted client may not change. Invalid values are ignored.
func withClientSettings(conf *nixconf.Conf, set *protocol.SetOptionsRequest) *nixconf.Conf {
	changed := conf.Clone()
	put := func(name, value string) {
		s := nixconf.Find(strings.TrimPrefix(name, "extra-"))
		if s = cmp.Or(nixconf.Find(name), s); s != nil && s.Who != nixconf.ConfOnly {
			changed.Set(nixconf.Assignment{Name: name, Value: value, File: "the client's settings", Source: nixconf.FromClient})
		}
	}
	put("substitute", strconv.FormatBool(set.UseSubstitutes))
	put("fallback", strconv.FormatBool(set.TryFallback))
	put("keep-going", strconv.FormatBool(set.KeepGoing))
	put("keep-failed", strconv.FormatBool(set.KeepFailed))
	put("max-jobs", strconv.FormatUint(uint64(set.MaxBuildJobs), 10))
	put("max-silent-time", strconv.FormatUint(uint64(set.MaxSilentTime), 10))
	put("cores", strconv.FormatUint(uint64(set.BuildCores), 10))
	for _, name := range slices.Sorted(maps.Keys(set.Overrides)) {
		put(name, set.Overrides[name])
	}
	return changed
}

// clientKeys returns the keys that must sign the uploads of a trusted client with these settings, or nil if
// the client has set none.
func clientKeys(conf *nixconf.Conf, set *protocol.SetOptionsRequest) (signature.KeySet, error) {
	for _, name := range []string{"trusted-public-keys", "extra-trusted-public-keys", "binary-cache-public-keys"} {
		if _, has := set.Overrides[name]; has {
			keys, _ := trustedKeys(withClientSettings(conf, set))
			return keys, nil
		}
	}
	return nil, nil
}

// trustedKeys returns the valid trusted keys of the configuration, and an error for each invalid one.
func trustedKeys(conf *nixconf.Conf) (signature.KeySet, []error) {
	keys := signature.NewKeySet()
	var errs []error
	for _, word := range conf.Reader().Words("trusted-public-keys") {
		key, err := signature.ParsePublicKey(word)
		if err != nil {
			origin := conf.Get("trusted-public-keys").Origin
			errs = append(errs, fmt.Errorf("%s: trusted-public-keys: ignoring '%s': %w", origin, word, err))
			continue
		}
		maps.Copy(keys, signature.NewKeySet(key))
	}
	return keys, errs
}
