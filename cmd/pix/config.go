package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/nixconf"
)

func newConfig(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config [NAME]",
		Short: "Print the settings of Nix, and where their values come from",
		Long: `Print every setting of Nix with its value, in the format of nix.conf. The comment after it says
where the value comes from (a line of a file or of NIX_CONFIG, a variable, a flag, or the default)
and whether pix ignores the setting; --json and docs/settings.md have the reason. With NAME, print
only the value.

The exit code is 1 if the configuration has an invalid value.`,
		Example: "  pix config substituters\n  pix config --json",
		GroupID: groupOther,
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, s := range nixconf.Settings() {
				names = append(names, s.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := a.fullConfiguration()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.printSetting(cmd, conf, args[0], asJSON)
			}
			return a.printSettings(conf, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as an object with the names as keys")
	return cmd
}

// fullConfiguration returns the configuration with the flags and variables of pix applied.
func (a *app) fullConfiguration() (*nixconf.Conf, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	a.warnOfConfiguration()
	conf = conf.Clone()
	store := nixconf.Assignment{Name: "store", Value: a.flags.storeURI, File: "--store", Source: nixconf.FromCommandLine}
	if a.flags.storeURI == "" {
		store = nixconf.Assignment{Name: "store", Value: a.getenv("PIX_STORE"), File: "PIX_STORE", Source: nixconf.FromEnvironment}
	}
	if store.Value != "" {
		if err := conf.Set(store); err != nil {
			return nil, &usageError{err}
		}
	}
	return conf, nil
}

// settingHint returns what to add to the message about an unknown setting: 'nix config' has verbs.
func settingHint(name string) string {
	switch name {
	case "show":
		return ", did you mean 'pix config'?"
	case "check":
		return ", did you mean 'pix doctor'?"
	}
	return ""
}

// printSetting prints the value of one setting.
func (a *app) printSetting(cmd *cobra.Command, conf *nixconf.Conf, name string, asJSON bool) error {
	s := nixconf.Find(name)
	if s == nil {
		return wrongUse(cmd, fmt.Errorf("unknown setting '%s'%s", name, settingHint(name)))
	}
	v := conf.Get(s.Name)
	if v.Err != nil {
		return &usageError{v.Err}
	}
	return a.printEither(v.Text+"\n", map[string]settingJSON{s.Name: newSettingJSON(s, v)}, asJSON)
}

// printSettings prints all settings. An invalid value is reported after them.
func (a *app) printSettings(conf *nixconf.Conf, asJSON bool) error {
	all := make(map[string]settingJSON)
	var lines strings.Builder
	for _, s := range nixconf.Settings() {
		v := conf.Get(s.Name)
		all[s.Name] = newSettingJSON(&s, v)
		comment := v.Origin.String()
		if v.Err != nil {
			comment = "invalid: " + v.Err.Error()
		}
		if s.By == "" {
			comment += "; not obeyed"
		}
		value := strings.ReplaceAll(v.Text, "\n", " ")
		fmt.Fprintf(&lines, "%-40s # %s\n", s.Name+" = "+value, comment)
	}
	if err := a.printEither(lines.String(), all, asJSON); err != nil {
		return err
	}
	if invalid := conf.Invalid(); len(invalid) > 0 {
		return conf.Get(invalid[0]).Err
	}
	return nil
}

// A settingJSON is a setting in the output of config --json.
type settingJSON struct {
	Value        any               `json:"value"`
	Default      any               `json:"defaultValue"`
	Origin       settingOriginJSON `json:"origin"`
	Error        *string           `json:"error"`
	Type         string            `json:"type"`
	Aliases      []string          `json:"aliases"`
	Experimental *string           `json:"experimentalFeature"`
	MaySet       string            `json:"maySet"`
	ObeyedBy     []string          `json:"obeyedBy"`
	Reason       *string           `json:"notObeyedBecause"`
}

type settingOriginJSON struct {
	Source string  `json:"source"`
	Name   *string `json:"name"`
	Line   *int    `json:"line"`
}

func newSettingJSON(s *nixconf.Setting, v nixconf.Value) settingJSON {
	d := settingJSON{
		Value: s.Decode(v.Text), Default: s.Decode(s.Default),
		Origin:       settingOriginJSON{Source: v.Origin.Source.String(), Name: orNull(v.Origin.Name)},
		Type:         s.Type.String(),
		Aliases:      notNull(s.Aliases),
		Experimental: orNull(s.Feature),
		MaySet:       s.Who.String(),
		ObeyedBy:     []string{},
		Reason:       orNull(s.Reason),
	}
	if v.Origin.Line > 0 {
		d.Origin.Line = &v.Origin.Line
	}
	if v.Err != nil {
		d.Error = orNull(v.Err.Error())
	}
	if s.By != "" {
		d.ObeyedBy = strings.Split(s.By, ", ")
	}
	return d
}
