package builtins

import (
	"net"
	"net/url"
	"strings"
)

// proxyFor returns the proxy for a URL, or nil. It reads the variables http_proxy, https_proxy, all_proxy and
// no_proxy like libcurl, also in upper case, except HTTP_PROXY.
func proxyFor(variables map[string]string, u *url.URL) (*url.URL, error) {
	get := func(names ...string) string {
		for _, name := range names {
			if value := variables[name]; value != "" {
				return value
			}
		}
		return ""
	}
	proxy := ""
	switch u.Scheme {
	case "http":
		proxy = get("http_proxy", "all_proxy", "ALL_PROXY")
	case "https":
		proxy = get("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
	}
	if proxy == "" || isExempt(get("no_proxy", "NO_PROXY"), u.Hostname()) {
		return nil, nil
	}
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	return url.Parse(proxy)
}

// isExempt reports whether a list of hosts and domains, separated by commas or spaces, has a host. "*" is every host.
func isExempt(list, host string) bool {
	for _, domain := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' }) {
		if domain == "*" {
			return true
		}
		domain = strings.TrimPrefix(strings.ToLower(domain), ".")
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		if _, network, err := net.ParseCIDR(domain); err == nil && network.Contains(net.ParseIP(name)) {
			return true
		}
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return true
		}
	}
	return false
}
