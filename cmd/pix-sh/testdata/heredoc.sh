x=1
cat <<EOF
$x $(echo sub) \$x
EOF
cat <<'EOF'
$x `no`
EOF
	cat <<-EOF
	tab
	EOF
while read -r l; do printf '[%s]\n' "$l"; done <<EOF
a\b
c
EOF
exec cat <<EOF
end
EOF
