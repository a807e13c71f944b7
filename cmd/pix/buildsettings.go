package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix"
	"pix/builder"
	"pix/builder/sandbox"
	"pix/nixconf"
	"pix/realise"
	"pix/server"
	"pix/signature"
	"pix/store"
)

// addSettingFlags adds the flags that stand for settings of nix.conf.
func (a *app) addSettingFlags(cmd *cobra.Command) {
	add := func(flag, short, setting, usage, noValue string) {
		cmd.Flags().VarPF(&settingFlag{settings: &a.flags.options, flag: flag, setting: setting, noValue: noValue}, flag, short, usage).NoOptDefVal = noValue
		if noValue == "" {
			freeValue(cmd, flag)
		}
	}
	add("keep-going", "k", "keep-going", "after a failure, keep building everything that does not depend on it", "true")
	add("keep-failed", "K", "keep-failed", "keep the build directories of failed builds; gc does not delete them", "true")
	add("max-jobs", "j", "max-jobs", "the `number` of derivations to build at once, or auto; 0 builds only on other machines", "")
	add("cores", "", "cores", "the `number` of processors that each build may use; 0 is all", "")
	add("timeout", "", "timeout", "the `seconds` after which a build is stopped; 0 is never", "")
	add("max-silent-time", "", "max-silent-time", "the `seconds` after which a build is stopped that prints nothing; 0 is never", "")
	add("fallback", "", "fallback", "build what cannot be substituted", "true")
	add("log-lines", "", "log-lines", "the `number` of lines of the log that the message of a failed build has", "")
}

// A settingFlag is a flag that sets a setting.
type settingFlag struct {
	settings *[]nixconf.Assignment
	flag     string
	setting  string
	noValue  string // the value of the flag alone; "" if it needs a value
	value    string // the last value that was given
}

func (f *settingFlag) String() string { return f.value }

func (f *settingFlag) Type() string {
	if f.noValue != "" {
		return "bool"
	}
	return "string"
}

func (f *settingFlag) Set(value string) error {
	if err := nixconf.Find(f.setting).Check(value); err != nil {
		return err
	}
	f.value = value
	*f.settings = append(*f.settings, nixconf.Assignment{Name: f.setting, Value: value, File: "--" + f.flag, Source: nixconf.FromCommandLine})
	return nil
}

// jobs returns the setting max-jobs as a number.
func jobs(r *nixconf.Reader) int {
	if text := r.Text("max-jobs"); text == "auto" {
		return runtime.NumCPU()
	}
	return r.Int("max-jobs")
}

// buildSettings returns a function that returns the settings of one call that builds: the configuration, changed by the
// settings of the client or by the flags.
func (a *app) buildSettings(conf *nixconf.Conf, c *storeChoice) func(context.Context, store.Store) (*realise.Settings, error) {
	return func(ctx context.Context, s store.Store) (*realise.Settings, error) {
		conf := conf
		if set := server.SettingsOf(ctx); set != nil {
			conf = withClientSettings(conf, set)
		}
		r := conf.Reader()
		o := a.builderOptions(conf, r, c)
		settings := &realise.Settings{
			MaxJobs: jobs(r), KeepGoing: r.Bool("keep-going"), Realisations: hasFeature(r, "ca-derivations"),
			Client:  server.ClientOf(ctx).User(),
			Require: requireFeature(r, c.open.serving),
		}
		err := r.Err()
		if err != nil {
			return nil, &usageError{err}
		}
		if o.SecretKeys, err = a.conf.secretKeys(r.Words("secret-key-files")); err != nil {
			return nil, err
		}
		submits := hasFeature(r, "dynamic-derivations") && store.RulesOf(s) == store.Rules236
		if submits {
			o.SystemFeatures = append(o.SystemFeatures, "builder-rpc-v0") // as in Nix 2.36
		}
		if submits || hasFeature(r, "recursive-nix") {
			settings.Serve = pix.ServeBuilder
		}
		settings.Limits = o.Limits()
		settings.BuildKey = o.Key(r.Text("impure-env"), r.Text("post-build-hook"), r.Text("builders"))
		if hook := a.postBuildHook(conf, r); hook != nil {
			settings.AfterBuild = hook.Run
		}
		if settings.Remote, err = remoteSettings(r); err != nil {
			return nil, &usageError{err}
		}
		settings.Executor, err = pix.NewBuilder(s, o)
		return settings, err
	}
}

// maxKept is how many build directories a daemon keeps. Every client may ask for that, and nothing else deletes them.
const maxKept = 64

// builderOptions returns the options of builds that the configuration sets.
func (a *app) builderOptions(conf *nixconf.Conf, r *nixconf.Reader, c *storeChoice) *builder.Options {
	o := &builder.Options{
		Sandbox:         sandboxMode(r.Text("sandbox")),
		SandboxPaths:    sandboxPaths(r),
		Shell:           sandbox.FindShell(),
		SandboxBuildDir: r.Text("sandbox-build-dir"),
		SharedMemory:    r.Text("sandbox-dev-shm-size"),
		BuildDir:        r.Text("build-dir"),

		BuildUsersGroup:  r.Text("build-users-group"),
		AutoAllocateUIDs: r.Bool("auto-allocate-uids"),
		StartID:          uint32(r.Uint("start-id")),
		IDCount:          uint32(r.Uint("id-count")),

		RequireDropSupplementaryGroups: r.Bool("require-drop-supplementary-groups"),

		OptionalFilter: !r.Bool("filter-syscalls"),

		Cgroups: r.Bool("use-cgroups"),
		Linux26: r.Bool("impersonate-linux-26"),

		Cores:          r.Int("cores"),
		System:         r.Text("system"),
		ExtraPlatforms: r.Words("extra-platforms"),
		SystemFeatures: r.Words("system-features"),

		Timeout:       r.Seconds("timeout"),
		MaxSilentTime: r.Seconds("max-silent-time"),
		MaxLogSize:    r.Uint("max-build-log-size"),
		AutoOptimise:  r.Bool("auto-optimise-store"),
		KeepFailed:    r.Bool("keep-failed"),
		DiscardLog:    !r.Bool("keep-build-log"),
		LogLines:      cmp.Or(r.Int("log-lines"), -1),

		PreBuildHook: r.Text("pre-build-hook"),
		IgnoredACLs:  r.Words("ignored-acls"),

		AllowedImpureHostDeps: r.Words("allowed-impure-host-deps"),

		CertFile:      r.Text("ssl-cert-file"),
		HashedMirrors: r.Words("hashed-mirrors"),
		PollInterval:  r.Seconds("build-poll-interval"),
		ImpureEnv:     a.impureEnv(conf, c.open.serving),
	}
	a.setConditional(o, conf, r, c)
	return o
}

// setConditional sets the options that follow from several settings, or from whether this process is a daemon.
func (a *app) setConditional(o *builder.Options, conf *nixconf.Conf, r *nixconf.Reader, c *storeChoice) {
	for _, feature := range []string{"ca-derivations", "recursive-nix"} { // as in Nix
		if hasFeature(r, feature) {
			o.SystemFeatures = append(o.SystemFeatures, feature)
		}
	}
	if r.Bool("run-diff-hook") {
		o.DiffHook = r.Text("diff-hook")
	}
	if c.open.serving == notServing {
		o.LogCommand = "pix log"
	} else {
		o.MaxKept = maxKept
	}
	if netrc, err := a.conf.read(r.Text("netrc-file")); err == nil {
		o.Netrc = netrc
	}
	if conf.Get("build-users-group").Origin.Source == nixconf.FromDefault {
		o.BuildUsersGroup = "" // the default of the builder, which does not need the group to exist
	} else {
		o.AsRoot = o.BuildUsersGroup == ""
	}
}

// hasFeature reports whether the configuration has an experimental feature.
func hasFeature(r *nixconf.Reader, name string) bool {
	return slices.Contains(r.Words("experimental-features"), name)
}

// requireFeature returns a function that returns an error if the configuration lacks an experimental feature. A client of
// a daemon gets the text of Nix. The command has no flag that enables a feature.
func requireFeature(r *nixconf.Reader, serving servingMode) func(feature, reason string) error {
	enabled := r.Words("experimental-features")
	return func(feature, reason string) error {
		if slices.Contains(enabled, feature) {
			return nil
		}
		if reason != "" {
			reason = " (" + reason + ")"
		}
		advice := "add '--extra-experimental-features " + feature + "'"
		if serving == notServing {
			advice = "add 'extra-experimental-features = " + feature + "' to nix.conf or NIX_CONFIG"
		}
		return fmt.Errorf("experimental Nix feature '%s' is disabled%s; %s to enable it", feature, reason, advice)
	}
}

func sandboxMode(text string) builder.SandboxMode {
	switch text {
	case "relaxed":
		return builder.SandboxRelaxed
	case "false":
		return builder.SandboxNone
	}
	return builder.SandboxAll
}

// sandboxPaths returns the paths of sandbox-paths. A source that ends in :ro is mounted read-only.
func sandboxPaths(r *nixconf.Reader) []builder.SandboxPath {
	var paths []builder.SandboxPath
	for _, p := range r.SandboxPaths("sandbox-paths") {
		source, readOnly := strings.CutSuffix(p.Source, ":ro")
		target := p.Target
		if target == p.Source {
			target = source
		}
		paths = append(paths, builder.SandboxPath{Target: target, Source: source, Optional: p.Optional, ReadOnly: readOnly})
	}
	return paths
}

// proxyVariables are the variables from which programs read their proxies.
var proxyVariables = []string{"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"}

// impureEnv returns a function that looks up the variables of impureEnvVars. A daemon uses its own environment, as in
// Nix. A verb uses only the proxy variables of its environment, so that passwords of a user or a CI job do not get
// into builds. Both use the setting impure-env.
func (a *app) impureEnv(conf *nixconf.Conf, serving servingMode) func(name string) (string, bool) {
	set, _ := nixconf.Find("impure-env").Decode(conf.Get("impure-env").Text).(map[string]string)
	return func(name string) (string, bool) {
		if value, ok := set[name]; ok {
			return value, true
		}
		if serving == notServing && !slices.Contains(proxyVariables, name) {
			return "", false
		}
		value := a.getenv(name)
		return value, value != ""
	}
}

// secretKeys reads the keys that sign the outputs of builds.
func (c *configuration) secretKeys(files []string) ([]signature.SecretKey, error) {
	var keys []signature.SecretKey
	for _, file := range files {
		text, err := c.read(file)
		if err != nil {
			return nil, fmt.Errorf("secret-key-files: %w", err)
		}
		key, err := signature.ParseSecretKey(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("secret-key-files: %s: %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
