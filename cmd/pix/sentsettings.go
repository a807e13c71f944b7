package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/daemon"
	"pix/nixconf"
)

// sentSettings returns the settings that a verb sends to a daemon, or nil if the user gave none. A daemon has a
// configuration of its own, and the message has a fixed place for max-jobs and six others: a value that the user did not
// give would replace the daemon's.
//
// The user gives settings with flags such as --max-jobs and --option, with NIX_CONFIG, and in files of their own. The
// nix.conf of the machine does not count. If some are given, the fixed places of the others have their values on this
// machine.
func (a *app) sentSettings() (*daemon.Settings, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	overrides := make(map[string]string)
	for _, f := range a.flags.options {
		if s := findSetting(f.Name); s != nil && s.Who != nixconf.ConfOnly && s.Who != nixconf.AnyClientField {
			overrides[f.Name] = f.Value
		}
	}
	given := a.addUserSettings(conf, overrides)
	if !given && len(a.flags.options) == 0 {
		return nil, nil
	}
	r := conf.Reader()
	settings := fixedSettings(r)
	settings.Overrides = overrides
	if err := r.Err(); err != nil {
		return nil, &usageError{err}
	}
	return settings, nil
}

// addUserSettings adds the settings to overrides that NIX_CONFIG or a file of the user sets and that a daemon takes from
// every client. It reports whether there are any, or any with a fixed place in the message.
func (a *app) addUserSettings(conf *nixconf.Conf, overrides map[string]string) (given bool) {
	machine := nixconf.Files(a.getenv)[0]
	for _, s := range nixconf.Settings() {
		v := conf.Get(s.Name)
		fromUser := v.Origin.Source == nixconf.FromEnvironment || v.Origin.Source == nixconf.FromFile && v.Origin.Name != machine
		if !fromUser || v.Err != nil {
			continue
		}
		switch s.Who {
		case nixconf.AnyClientField:
			given = true
		case nixconf.AnyClient, nixconf.ListedClient:
			if _, isFlag := overrides[s.Name]; !isFlag {
				overrides[s.Name] = v.Text
			}
			given = true
		}
	}
	return given
}

// fixedSettings returns the settings of the configuration that have a fixed place in the message to a daemon.
func fixedSettings(r *nixconf.Reader) *daemon.Settings {
	s := daemon.DefaultSettings()
	s.KeepFailed, s.KeepGoing = r.Bool("keep-failed"), r.Bool("keep-going")
	s.TryFallback, s.UseSubstitutes = r.Bool("fallback"), r.Bool("substitute")
	s.MaxBuildJobs, s.BuildCores = uint32(jobs(r)), uint32(r.Uint("cores"))
	s.MaxSilentTime = uint32(min(r.Uint("max-silent-time"), 1<<32-1))
	return s
}

// findSetting returns the setting with a name, which extra- may precede, or nil.
func findSetting(name string) *nixconf.Setting {
	if s := nixconf.Find(name); s != nil {
		return s
	}
	return nixconf.Find(strings.TrimPrefix(name, "extra-"))
}

// An optionFlag is the flag --option. [joinOptions] joins the two words that follow it.
type optionFlag struct{ options *[]nixconf.Assignment }

func (f optionFlag) String() string { return "" }
func (f optionFlag) Type() string   { return "NAME VALUE" }

// Set adds a setting.
func (f optionFlag) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("expected --option NAME VALUE")
	}
	s := findSetting(name)
	if s == nil {
		return errors.New("'" + name + "' is not a setting; 'pix config' lists them")
	}
	if err := s.Check(value); err != nil {
		return err
	}
	*f.options = append(*f.options, nixconf.Assignment{Name: name, Value: value, File: "--option", Source: nixconf.FromCommandLine})
	return nil
}

// joinOptions returns the arguments of pix with NAME=VALUE in place of the two words after --option, since a flag of
// package pflag takes one. Words that belong to a program or come after -- are not changed.
func joinOptions(root *cobra.Command, args []string) []string {
	const option = "--option"
	cmd, _, err := root.Find(args)
	if err != nil || !slices.Contains(args, option) {
		return args
	}
	positional := 0 // with the verb itself
	var joined []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--", cmd.Name() == "run" && positional > 1:
			return append(joined, args[i:]...)
		case arg == option && i+2 < len(args):
			joined = append(joined, option+"="+args[i+1]+"="+args[i+2])
			i += 2
			continue
		case takesWord(cmd, arg) && i+1 < len(args):
			joined = append(joined, arg)
			i++
			arg = args[i]
		case !strings.HasPrefix(arg, "-"):
			positional++
		}
		joined = append(joined, arg)
	}
	return joined
}

// takesWord reports whether an argument is a flag whose value is the next argument.
func takesWord(cmd *cobra.Command, arg string) bool {
	f := cmd.Flag(strings.TrimPrefix(arg, "--"))
	switch {
	case strings.HasPrefix(arg, "--"):
	case len(arg) == 2 && arg[0] == '-':
		f = cmd.Flags().ShorthandLookup(arg[1:])
	default:
		return false
	}
	return f != nil && f.NoOptDefVal == ""
}
