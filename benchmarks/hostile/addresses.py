"""The corpus: addresses that must lead nowhere, by trick. `{p}` is a port on which somebody listens who must not
be reached.

Spellings after: OWASP's Server Side Request Forgery Prevention Cheat Sheet; Orange Tsai, A New Era of SSRF (Black
Hat USA 2017); RFC 3986 (7.4, 7.6), RFC 4291, RFC 6052, RFC 3056. Written out, so that a reader sees what is tried.
"""

SPELLINGS = (
    # this machine, in the notations that inet_aton takes
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "127.127.127.127", "2130706433", "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1", "0X7F000001", "017700000001", "0177.0.0.1", "0177.1", "00177.0.0.01", "127.0x0.0.1",
    "127.00.00.01",
    "0x7f.0x0.0x0.0x1", "0x0000007f.1", "127.000.000.001", "0", "0.0.0.0", "0x0", "00", "0.0", "4294967295",
    "0177.0x0.0.01", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "localhost.localdomain",
    # other private places, the metadata services of clouds
    "10.0.0.1", "10.1", "0xa000001", "167772161", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.1",
    "3232235777", "100.64.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
    "169.254.43518",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "240.0.0.1",
    "metadata.google.internal", "169.254.169.254.",
    # IPv6, and IPv4 inside it
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::]", "[::0001]", "[0::1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[::7f00:1]",
    "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[2002:a9fe:a9fe::]", "[2002:a00:1::1]", "[2001:0:7f00:1::]",
    "[fe80::1]", "[fe80::1%251]", "[fe80::1%25lo]", "[::1%251]", "[::1%25lo]", "[::1%lo]", "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]", "[100::1]", "[::ffff:127.1]", "[::1.]", "[::ffff:0x7f.1]",
    "[127.0.0.1]",
    # digits, dots and letters that some library folds into ASCII
    "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ",
    "loca\u00adlhost", "local\u200bhost", "١٢٧.٠.٠.١", "\u2488\u2489\u248e.0.0.1", "xn--localhost-.test",
    # percent-encoded
    "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%6c%6f%63%61%6c%68%6f%73%74", "127.0.0.1%00.example.org",
    "127.0.0.1%2f",
    "%5b::1%5d", "127.0.0.1%20", "127.0.0.1%09",
)  # fmt: skip
"""Hosts that are, or that somebody might read as, an address that must not be reached."""

FORMS = (
    # who reads the authority differently than who checked it
    "http://open.test@127.0.0.1:{p}/", "http://127.0.0.1:{p}@open.test:1/",
    "http://open.test:80@127.0.0.1:{p}/",
    "http://a:b@127.0.0.1:{p}/", "http://@127.0.0.1:{p}/", "http://open.test%40127.0.0.1:{p}/",
    "http://open.test\\@127.0.0.1:{p}/", "http://127.0.0.1:{p}\\@open.test/",
    "http://open.test#@127.0.0.1:{p}/",
    "http://open.test?@127.0.0.1:{p}/", "http://127.0.0.1:{p}#@open.test/", "http://127.0.0.1:{p}?@open.test/",
    "http://127.0.0.1:{p};@open.test/", "http://open.test&@127.0.0.1:{p}/", "http:///127.0.0.1:{p}/",
    "http:////127.0.0.1:{p}/", "http:127.0.0.1:{p}/", "http:/127.0.0.1:{p}/", "http:\\\\127.0.0.1:{p}\\",
    "http://\\127.0.0.1:{p}/", "//127.0.0.1:{p}/", "http://open.test,127.0.0.1:{p}/",
    "http://127.0.0.1:{p},open.test/", "http://open.test 127.0.0.1:{p}/", "http://127.0.0.1 :{p}/",
    "http://[::1]:{p}]@open.test/", "http://[open.test]:{p}/", "http://[::1:{p}/", "http://::1]:{p}/",
    "http://1.1.1.1 &@127.0.0.1:{p}# @3.3.3.3/",
    # line ends, controls
    "http://127.0.0.1:{p}/\r\nHost: open.test\r\n\r\n", "http://open.test\r\n@127.0.0.1:{p}/",
    "http://127.0.0.1\r\n:{p}/", "http://127.0.0.1\t:{p}/", "http://127\n.0.0.1:{p}/",
    "\nhttp://127.0.0.1:{p}/",
    " http://127.0.0.1:{p}/", "http://127.0.0.1\x00.open.test:{p}/", "ht\ntp://127.0.0.1:{p}/",
    "http://127.0.0.1:{p}/%0d%0aHost:%20open.test", "http://127.0.0.1\u2028:{p}/",
    "http://127.0.0.1\u202e:{p}/",
    # ports
    "http://127.0.0.1:0{p}/", "http://127.0.0.1:+{p}/", "http://127.0.0.1:{p}:80/", "http://127.0.0.1:６５/",
    "http://127.0.0.1:65616/", "http://127.0.0.1:-1/", "http://127.0.0.1:/", "http://127.0.0.1:1e3/",
    "http://127.0.0.1/", "https://127.0.0.1/", "https://127.0.0.1:{p}/", "HTTP://127.0.0.1:{p}/",
    "hTTps://[::1]:{p}/",
    # other schemes
    "gopher://127.0.0.1:{p}/_GET%20/", "dict://127.0.0.1:{p}/info", "ftp://127.0.0.1:{p}/a",
    "ldap://127.0.0.1:{p}/",
    "ws://127.0.0.1:{p}/", "jar:http://127.0.0.1:{p}/!/a", "url:http://127.0.0.1:{p}/",
    "view-source:http://127.0.0.1:{p}/",
    "data:image/png;base64,AAAA", "javascript:fetch('http://127.0.0.1:{p}/')", "file://127.0.0.1:{p}/a",
    "smb://127.0.0.1:{p}/a", "sftp://127.0.0.1:{p}/a", "telnet://127.0.0.1:{p}", "unix:/var/run/docker.sock",
    "http+unix://%2fvar%2frun%2fdocker.sock/info", "tftp://127.0.0.1:{p}/a", "netdoc:///etc/passwd",
)  # fmt: skip

REBINDING = (
    # what the attacker's server answers: to the first question, to the second ...
    (("1.1.1.1",), ("127.0.0.1",)),
    (("127.0.0.1",), ("1.1.1.1",)),
    (("1.1.1.1", "127.0.0.1"),),
    (("127.0.0.1", "1.1.1.1"),),
    (("1.1.1.1",), ("1.1.1.1", "127.0.0.1"), ("127.0.0.1",)),
    (("2606:4700:4700::1111", "127.0.0.1"),),
    (("1.1.1.1", "::1"),),
    (("::1",),),
    (("::ffff:127.0.0.1",),),
    (("64:ff9b::7f00:1",),),
    (("2002:7f00:1::",),),
    (("fe80::1",),),
    (("169.254.169.254",),),
    (("1.1.1.1",), ("169.254.169.254",)),
    (("0.0.0.0",),),
    (("1.1.1.1",), ("0.0.0.0",)),
    (("10.0.0.1",),),
    (("1.1.1.1",), ("::1",)),
    (("1.1.1.1",), ("::ffff:127.0.0.1",)),
    (("100.100.100.200",),),
)
PUBLIC_ANSWERS = ("1.1.1.1", "2606:4700:4700::1111")
"""Where a fetch of such a name may go: it is public. (The watch keeps it from leaving this machine.)"""

REDIRECTS = (
    "http://127.0.0.1:{p}/", "//127.0.0.1:{p}/", "///127.0.0.1:{p}/", "\\\\127.0.0.1:{p}/", "/\\127.0.0.1:{p}/",
    "http:127.0.0.1:{p}/", "http:/127.0.0.1:{p}/", "https://127.0.0.1:{p}/", "HTTP://LOCALHOST:{p}/",
    "//localhost:{p}",
    "http://[::1]:{p}/", "http://[::ffff:127.0.0.1]:{p}/", "http://2130706433:{p}/", "http://0x7f.1:{p}/",
    "http://0:{p}/", "//public.test@127.0.0.1:{p}/", "http://public.test@127.0.0.1:{p}/", "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/computeMetadata/v1/",
    "file:///etc/passwd", "gopher://127.0.0.1:{p}/", "ftp://127.0.0.1:{p}/", "data:image/png;base64,AAAA",
    "s3://bucket/key", "unix:/var/run/docker.sock", "http://public.test:{q}/hop?to=//127.0.0.1:{p}/",
    "/hop?to=/hop?to=http://127.0.0.1:{p}/", "/hop?to=%2F%2F127.0.0.1%3A{p}%2F", "/hop?to=//rebind-0.test:{p}/",
    "http://rebind-1.test:{p}/", "http://rebind-2.test:{p}/", "http://127.0.0.1:{p}/\r\nX: y",
    "http://127.0.0.1:{p}%2f",
    "http://①②⑦.⓪.⓪.①:{p}/", "?to=http://127.0.0.1:{p}/", "hop?to=//127.0.0.1:{p}/", "http://127。0。0。1:{p}/",
    "http://127.0.0.1:{p}#", " http://127.0.0.1:{p}/", "http:\\\\127.0.0.1:{p}/",
)  # fmt: skip
"""What a server that may be asked sends a worker on to. `{q}` is that server's own port."""
