-- What pandoc would drop or set badly on the way from a notebook's Markdown to Typst.

-- HTML tables (DataFrames) and LaTeX tabulars are raw text to pandoc's Markdown reader: read them as what they are.
local function read_block(raw)
  if raw.format == "html" then
    return pandoc.read(raw.text, "html-native_divs-native_spans").blocks
  elseif raw.format == "tex" or raw.format == "latex" then
    return pandoc.read(raw.text, "latex").blocks
  end
end

-- Images of HTML, and equations outside of dollars (`\begin{align} ... \end{align}`), which MathJax accepts.
local function read_inline(raw)
  if raw.format == "html" then
    return pandoc.utils.blocks_to_inlines(pandoc.read(raw.text, "html").blocks)
  elseif raw.format == "tex" and raw.text:match("^\\begin") then
    return pandoc.Math("DisplayMath", raw.text)
  end
end

-- An equation number given by hand.
local function show_tag(math)
  math.text = math.text:gsub("\\tag%s*(%b{})", function(tag) return "\\qquad (" .. tag:sub(2, -2) .. ")" end)
  return math
end

local function is_number(cell)
  local text = pandoc.utils.stringify(cell.contents)
  return text == "" or text:match("%d") and not text:match("[%a/]") or text:match("^[–—%-X]$") ~= nil
end

-- Columns of numbers are set flush right; widths come from the contents, not from the dashes of the source.
local function align_numbers(tbl)
  local columns = #tbl.colspecs
  local numeric = {}
  for _, body in ipairs(tbl.bodies) do
    for _, row in ipairs(body.body) do
      for i, cell in ipairs(row.cells) do
        local column = columns - #row.cells + i -- a cell that spans rows stands on the left
        numeric[column] = numeric[column] ~= false and is_number(cell)
      end
    end
  end
  for column, spec in ipairs(tbl.colspecs) do
    local align = spec[1]
    if align == "AlignDefault" then align = numeric[column] and "AlignRight" or "AlignLeft" end
    tbl.colspecs[column] = { align, nil }
  end
  return tbl
end

-- Typst refuses a link to a label that is not there, so such a link becomes plain words. A link to the file of a
-- figure refers to the figure: `[the curve](figures/a.png)` becomes "Figure 3".
local function mend_links(doc)
  local labels, figure_of, count = {}, {}, 0
  doc = doc:walk({
    Header = function(header) labels[header.identifier] = true end,
    Figure = function(figure)
      count = count + 1
      if figure.identifier == "" then figure.identifier = "figure-" .. count end
      labels[figure.identifier] = true
      figure:walk({ Image = function(image) figure_of[image.src] = figure.identifier end })
      return figure
    end,
  })
  return doc:walk({
    Link = function(link)
      local figure = figure_of[link.target]
      if figure then return pandoc.RawInline("typst", "#ref(<" .. figure .. ">)") end
      if link.target:sub(1, 1) ~= "#" then return link.target ~= "" and link or link.content end
      local label = link.target:sub(2)
      if not labels[label] then label = label:lower() end -- Jupyter's anchors keep capitals
      link.target = "#" .. label
      return labels[label] and link or link.content
    end,
  })
end

-- Without a title in the front matter the first heading is the title, and the headings below it move up.
local function take_title(doc)
  local first = doc.blocks[1]
  if doc.meta.title then
    doc.meta.titlepage = true
  elseif first and first.t == "Header" and first.level == 1 then
    doc.meta.title = pandoc.MetaInlines(first.content)
    doc.blocks:remove(1)
    local only_title = true
    doc:walk({ Header = function(header) only_title = only_title and header.level > 1 end })
    if only_title then
      doc = doc:walk({ Header = function(header) header.level = header.level - 1 return header end })
    end
  end
  return doc
end

return {
  { RawBlock = read_block, RawInline = read_inline },
  { Math = show_tag, Table = align_numbers },
  { Pandoc = function(doc) return mend_links(take_title(doc)) end },
}
