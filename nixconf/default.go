package nixconf

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

// Default returns the configuration of this machine without configuration files and environment variables. If
// a default differs from Nix, the table has both.
func Default() *Conf { return &Conf{onMachine: true} }

// machineDefaults are the defaults that depend on the machine and the user.
var machineDefaults = map[string]func() string{
	"system":            system,
	"extra-platforms":   extraPlatforms,
	"system-features":   systemFeatures,
	"ssl-cert-file":     certFile,
	"sandbox":           func() string { return onLinux("true", "false") },
	"start-id":          func() string { return onLinux("872415232", "56930") },
	"id-count":          func() string { return onLinux("8388608", "128") },
	"use-case-hack":     func() string { return strconv.FormatBool(runtime.GOOS == "darwin") },
	"build-users-group": func() string { return asRoot("nixbld", "") },

	"require-drop-supplementary-groups": func() string { return asRoot("true", "false") },
}

func onLinux(linux, others string) string {
	if runtime.GOOS == "linux" {
		return linux
	}
	return others
}

func asRoot(root, others string) string {
	if os.Getuid() == 0 {
		return root
	}
	return others
}

// certFile returns the file with the certificate authorities of the system, or "".
func certFile() string {
	for _, file := range []string{"/etc/ssl/certs/ca-certificates.crt", "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// FromVariables returns the defaults, changed by environment variables for single settings, such as
// NIX_SSL_CERT_FILE. It does not read files and NIX_CONFIG. [Load] starts with it.
func FromVariables(getenv func(string) string) *Conf {
	c := Default()
	dir := filepath.Clean(cmp.Or(getenv("NIX_CONF_DIR"), DefaultDir))
	c.inConfDir = map[string]string{"netrc-file": filepath.Join(dir, "netrc"), "builders": "@" + filepath.Join(dir, "machines")}
	c.nixPath = getenv("NIX_PATH") != ""
	set := func(name, variable, value string) {
		a := Assignment{Name: name, Value: value, File: variable, Source: FromEnvironment}
		if err := c.Set(a); err != nil {
			c.put(Find(name), Value{Text: c.defaultOf(Find(name)), Origin: a.origin(), Err: err})
		}
	}
	for _, v := range []struct{ variable, name string }{
		{"NIX_REMOTE", "store"}, {"SSL_CERT_FILE", "ssl-cert-file"}, {"NIX_SSL_CERT_FILE", "ssl-cert-file"},
	} {
		if value := getenv(v.variable); value != "" {
			set(v.name, v.variable, value)
		}
	}
	if getenv("NIX_IGNORE_SYMLINK_STORE") == "1" {
		set("allow-symlinked-store", "NIX_IGNORE_SYMLINK_STORE", "true")
	}
	if files := getenv("NIX_REMOTE_SYSTEMS"); files != "" {
		var lines []string
		for _, file := range strings.FieldsFunc(files, func(r rune) bool { return r == ':' }) {
			lines = append(lines, "@"+file)
		}
		set("builders", "NIX_REMOTE_SYSTEMS", strings.Join(lines, "\n"))
	}
	return c
}

// machines are Nix's names of processors.
var machines = map[string]string{"386": "i686", "amd64": "x86_64", "arm64": "aarch64", "arm": "armv7l", "ppc64le": "powerpc64le", "loong64": "loongarch64"}

// system returns Nix's name of the system of this machine.
func system() string { return cmp.Or(machines[runtime.GOARCH], runtime.GOARCH) + "-" + runtime.GOOS }

// extraPlatforms returns the other systems for which this machine can run programs.
func extraPlatforms() string {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		return ""
	}
	list := []string{"i686-linux"}
	x := &cpu.X86
	for i, has := range []bool{
		true,
		x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42 && x.HasPOPCNT && x.HasCX16,
		x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA,
		x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL,
	} {
		if !has {
			break
		}
		list = append(list, "x86_64-v"+string(rune('1'+i))+"-linux")
	}
	return strings.Join(list, " ")
}

// systemFeatures returns the system features of this machine.
func systemFeatures() string {
	list := []string{"benchmark", "big-parallel", "nixos-test"}
	if runtime.GOOS == "linux" {
		list = append(list, "uid-range")
		if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			f.Close()
			list = append(list, "kvm")
		}
	}
	return joinSorted(list)
}
