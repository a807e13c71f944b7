package nixconf

import (
	"cmp"
	"slices"
	"strings"
)

// A Setting is a row of the table of settings.
type Setting struct {
	Name    string
	Aliases []string // older names
	Type    Type

	// Default is the value in pix, in the form in which it stands in nix.conf. A few defaults depend on
	// the machine, its user and the environment: [Conf.Get] returns them.
	Default string

	// Nix is the default of Nix if pix has another one.
	Nix string

	// Feature is the experimental feature without which the setting has no effect; "" is none.
	Feature string

	Who Who // may set it

	// By names the packages that obey the setting. If pix does not obey it, By is "" and Reason says why.
	By     string
	Reason string
}

// Who says which sources of a setting count.
type Who uint8

const (
	// ConfOnly settings come from the configuration of the process that obeys them. A daemon
	// ignores the values of its clients.
	ConfOnly Who = iota
	// TrustedClient settings can also come from a trusted client of a daemon.
	TrustedClient
	// AnyClient settings can also come from any client of a daemon.
	AnyClient
	// AnyClientField settings can come from any client in a field of the protocol, and from a trusted
	// client by their names.
	AnyClientField
	// ListedClient settings are TrustedClient settings. An untrusted client may also set them, but only to values
	// that the configuration lists in substituters and trusted-substituters.
	ListedClient
)

// String returns the sources in words, as the documentation has them.
func (w Who) String() string {
	switch w {
	case TrustedClient:
		return "trusted clients"
	case AnyClient, AnyClientField:
		return "all clients"
	case ListedClient:
		return "trusted clients; others from the configured ones"
	}
	return "nix.conf"
}

// byName has every setting under its name and its aliases.
var byName = index()

func index() map[string]*Setting {
	all := make(map[string]*Setting)
	for i := range table {
		s := &table[i]
		all[s.Name] = s
		for _, alias := range s.Aliases {
			all[alias] = s
		}
	}
	return all
}

// Settings returns the table, sorted by name.
func Settings() []Setting {
	all := slices.Clone(table)
	slices.SortFunc(all, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Find returns the setting with a name or an alias, or nil. It does not accept extra-NAME.
func Find(name string) *Setting { return byName[name] }

// find returns the setting that a name in a configuration means, and whether the value is appended. It
// returns nil for an unknown setting.
func find(name string) (s *Setting, appended bool) {
	if s = byName[name]; s != nil {
		return s, false
	}
	if rest, ok := strings.CutPrefix(name, "extra-"); ok {
		if s = byName[rest]; s != nil && s.Type.appends() {
			return s, true
		}
	}
	return nil, false
}
