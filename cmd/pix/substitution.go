package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pix"
	"pix/nixconf"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/substitute"
)

// substitution returns a function that returns the settings of one call for substitution: the configuration, changed in
// a daemon by the settings of the client. The function is nil if nothing is ever substituted.
func (a *app) substitution(conf *nixconf.Conf, opts *pix.Options) func(context.Context, *substitute.Sources) (*substitute.Settings, error) {
	if !a.serves && conf.Get("substitute").Text == "false" || !a.serves && conf.Get("substituters").Text == "" && conf.Get("substituters").Err == nil {
		return nil
	}
	cache, cacheErr := a.cacheOptions()
	opts.Cache = cache
	return func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error) {
		requireSigs := conf.Reader().Bool("require-sigs") // of paths: it is a setting of the store in Nix
		conf := conf
		if set := server.SettingsOf(ctx); set != nil {
			conf = withClientSettings(conf, set)
		}
		r := conf.Reader()
		settings := &substitute.Settings{
			NoSignatures:         !requireSigs,
			UnsignedRealisations: !r.Bool("require-sigs"),
			Fallback:             r.Bool("fallback"),
			KeepGoing:            r.Bool("keep-going") || a.settings != nil && a.settings.KeepGoing,
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
		settings.TrustedKeys, _ = trustedKeys(conf) // the store has warned of the others
		var err error
		settings.Substituters, err = sources.Get(ctx, uris)
		return settings, err
	}
}

// withClientSettings returns a configuration with the settings of a client, except settings that no client may change. The
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
	for _, name := range slices.Sorted(maps.Keys(set.Overrides)) {
		put(name, set.Overrides[name])
	}
	return changed
}

// clientKeys returns the trusted keys for the uploads of a trusted client with these settings, or nil if
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

// trustedKeys returns the trusted keys of the configuration, and an error for each word that is no key. Such a word is
// ignored.
func trustedKeys(conf *nixconf.Conf) (signature.KeySet, []error) {
	keys := signature.NewKeySet()
	var wrong []error
	for _, word := range conf.Reader().Words("trusted-public-keys") {
		key, err := signature.ParsePublicKey(word)
		if err != nil {
			origin := conf.Get("trusted-public-keys").Origin
			wrong = append(wrong, fmt.Errorf("%s: trusted-public-keys: ignoring '%s': %w", origin, word, err))
			continue
		}
		maps.Copy(keys, signature.NewKeySet(key))
	}
	return keys, wrong
}
