# Two columns, H0 and prediction, one crystal a line -> one row: name, crystals, the two means, the second's 95 % interval, the ratio of the
# means and its interval, from 2000 bootstrap samples of the crystals. Variable: name.
BEGIN { FS = OFS = "\t" }
$1 + 0 == $1 && $2 + 0 == $2 { a[++n] = $1; b[n] = $2; sa += $1; sb += $2 }
END {
    if (n == 0) exit
    srand(1)
    for (i = 0; i < 2000; i++) {
        x = y = 0
        for (j = 0; j < n; j++) { k = 1 + int(rand() * n); x += a[k]; y += b[k] }
        p[i] = y / n; q[i] = y > 0 ? x / y : 1e30
    }
    sort(p, 2000); sort(q, 2000)
    print name, n, number(sa / n), number(sb / n), number(p[50]), number(p[1949]), (sb > 0 ? number(sa / sb) : "-"), number(q[50]), number(q[1949])
}
function number(x) { return x < 1e29 ? sprintf("%.4g", x) : "-" }
function sort(v, n,   i, j, t, gap) {
    for (gap = int(n / 2); gap > 0; gap = int(gap / 2))
        for (i = gap; i < n; i++) {
            t = v[i]
            for (j = i; j >= gap && v[j - gap] > t; j -= gap) v[j] = v[j - gap]
            v[j] = t
        }
}
